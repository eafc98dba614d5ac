/**
 * Finds out which messages of a batch PostgreSQL refuses, in one round trip.
 *
 * Each row is inserted under a savepoint of its own, in a transaction that is rolled back: so a batch with many bad rows does
 * not have to be halved over and over. It is a hint and no more: what it finds good is still written as a batch, which can be
 * refused for another reason.
 */
import { type Kysely, sql } from 'kysely'
import { classifyWriteFailure } from '../errors.ts'
import type { Database } from '../schema.ts'
import { COLUMNS, messageRow, RECORD } from './insert-messages.ts'
import { fromRecord } from './message-columns.ts'
import { placeMessages } from './place-messages.ts'
import { isMessageItem, type StoreItem } from './store-item.ts'

/** Parameters of the block: it can have none of its own, so they are settings of the transaction. */
const ROWS = 'wa_ingest.probed_rows'
const REFUSED = 'wa_ingest.refused_rows'

/** The insert of insert-messages.ts, row by row. Constraints and triggers that are deferred run at once. */
const PROBE = `
DO $probe$
DECLARE
  one json;
  place integer := -1;
  state text;
  broken text;
  context text;
  refused jsonb := '[]';
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  FOR one IN SELECT value FROM json_array_elements(current_setting('${ROWS}')::json) LOOP
    place := place + 1;
    BEGIN
      INSERT INTO chat_messages (${Object.keys(COLUMNS).join(', ')})
      SELECT ${Object.entries(COLUMNS)
        .map(([name, type]) => fromRecord(name, type))
        .join(', ')}
      FROM json_to_record(one) AS r(${RECORD})
      ON CONFLICT (wa_message_id) WHERE wa_message_id IS NOT NULL AND wa_message_id <> '' DO NOTHING;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, broken = CONSTRAINT_NAME, context = PG_EXCEPTION_CONTEXT;
      refused := refused || jsonb_build_object('place', place, 'state', state, 'constraint', broken, 'where', context);
    END;
  END LOOP;
  PERFORM set_config('${REFUSED}', refused::text, true);
END $probe$`

type Refused = { place: number; state: string; constraint: string; where: string }

/** One row was refused; the fields are those of the driver's error, without its message, which can quote the row. */
class RefusedRowError extends Error {
  override name = 'RefusedRowError'
  code: string
  constraint: string | undefined
  where: string

  constructor({ state, constraint, where }: Refused) {
    super('PostgreSQL refuses this row')
    this.code = state
    this.constraint = constraint === '' ? undefined : constraint
    this.where = where
  }
}

/**
 * The items among these that are refused by themselves, with the error of each. Empty when none is found: also when the
 * probe itself fails. Items other than messages are not probed. Never rejects.
 */
export async function probeMessages(
  db: Kysely<Database>,
  items: readonly StoreItem[],
): Promise<Map<StoreItem, unknown>> {
  const messages = items.filter(isMessageItem)
  const refused = new Map<StoreItem, unknown>()
  if (messages.length === 0) return refused
  const found = await probe(db, messages).catch(() => [])
  for (const [item, cause] of found) {
    // A row that met another transaction, or a server that is full, says nothing about the row.
    const failure = classifyWriteFailure(cause)
    if (failure === 'data' || failure === 'refused') refused.set(item, cause)
  }
  return refused
}

async function probe(
  db: Kysely<Database>,
  items: readonly StoreItem[],
): Promise<(readonly [StoreItem, RefusedRowError])[]> {
  const trx = await db.startTransaction().execute()
  try {
    const { placed } = await placeMessages(trx, items, undefined)
    // In the order in which every writer locks them.
    const ordered = placed.toSorted((a, b) =>
      a.item.fact.wa_message_id < b.item.fact.wa_message_id ? -1 : 1,
    )
    const rows = JSON.stringify(ordered.map(messageRow))
    await sql`SELECT set_config(${ROWS}, ${rows}, true)`.execute(trx)
    await sql.raw(PROBE).execute(trx)
    const { rows: answer } = await sql<{ refused: Refused[] }>`
      SELECT current_setting(${REFUSED})::json AS refused`.execute(trx)
    return (answer[0]?.refused ?? []).flatMap((row) => {
      const item = ordered[row.place]?.item
      return item === undefined ? [] : [[item, new RefusedRowError(row)] as const]
    })
  } finally {
    await trx.rollback().execute()
  }
}
