/** Rows that the database refuses, for a reason of the user's own. */
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { createEventStore } from '../../src/db/ingest/event-store.ts'
import { type ParkedTally, reprocessParkedEvents } from '../../src/db/reprocess/events.ts'
import { keptFields, normalize, reparse } from '../../src/providers/index.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { BACKENDS } from '../world/world.ts'

const SECOND = 1_000

const rowRefused: Scenario = {
  name: 'row-refused',
  promise:
    'a trigger refuses every 20th message: all others are stored meanwhile, these are parked, and reprocess stores them',
  backends: BACKENDS,
  seconds: 6,
  async run(ctx) {
    const { postgres } = ctx.world
    await postgres.query(`CREATE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF hashtext(NEW.wa_message_id) % 20 = 0 THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$`)
    await postgres.query(`CREATE TRIGGER chaos_refuse BEFORE INSERT ON chat_messages
      FOR EACH ROW EXECUTE FUNCTION chaos_refuse()`)
    await ctx.repeat(() => ctx.pause(1 * SECOND))
    ctx.load.pause()
    await ctx.until('all is stored but what is refused, and that is parked', 30 * SECOND, async () => {
      const parked = await countParked(ctx)
      return parked > 0 && (await ctx.auditor.countMissing()) === parked
    })
    await postgres.query('DROP TRIGGER chaos_refuse ON chat_messages')
    const { recovered, still_parked } = await reprocess(ctx)
    ctx.note(`${recovered} messages were refused, parked and reprocessed`)
    ctx.check('reprocess stores what was parked', recovered > 0 && still_parked === 0)
  },
}

export const refusedRowScenarios = [rowRefused]

async function countParked({ world }: ScenarioContext): Promise<number> {
  const rows = await world.postgres.query<{
    count: number
  }>(`SELECT count(*)::integer AS count FROM webhook_events
    WHERE reason LIKE 'refused by PostgreSQL: SQLSTATE P0001%'`)
  return rows[0]?.count ?? 0
}

/** As `npx wa-ingest reprocess --parked`. */
async function reprocess({ world, signal }: ScenarioContext): Promise<ParkedTally> {
  const db = createDatabase(createPool({ url: world.postgres.url, applicationName: 'chaos reprocess' }))
  try {
    const store = createEventStore({ db, isCounted: false })
    return await reprocessParkedEvents(
      { db, store, parser: { reparse, normalize, keptFields } },
      { since: undefined, batchSize: 100, isDryRun: false, signal, onProgress: () => {} },
    )
  } finally {
    await db.destroy()
  }
}
