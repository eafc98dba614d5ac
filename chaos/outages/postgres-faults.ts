/** What can happen to PostgreSQL. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { ScenarioContext } from '../scenario.ts'
import { fillUp } from '../world/mounts.ts'
import type { Fault } from './outage.ts'

const SECOND = 1_000

/** Its keeper starts it again at once. */
export const killPostgres: Fault =
  ({ world }) =>
  async () => {
    await world.postgres.kill()
    return () => {}
  }

export const stopPostgres: Fault =
  ({ world }) =>
  async () => {
    await world.postgres.stop()
    return () => world.postgres.start()
  }

export const forbidPostgresWrites: Fault = ({ world: { postgres } }) => {
  const setReadOnly = async (value: 'on' | 'off') => {
    await postgres.query(`ALTER SYSTEM SET default_transaction_read_only = ${value}`)
    await postgres.query('SELECT pg_reload_conf()')
  }
  return async () => {
    await setReadOnly('on')
    return () => setReadOnly('off')
  }
}

/** 100 ms for each row, as an overloaded server or a trigger of the user's own needs: 45 rows are a time-out. */
export const slowDownPostgres: Fault = ({ world: { postgres } }) => {
  return async () => {
    await postgres.query(`CREATE OR REPLACE FUNCTION chaos_slow() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$`)
    await postgres.query(`CREATE TRIGGER chaos_slow BEFORE INSERT ON chat_messages
      FOR EACH ROW EXECUTE FUNCTION chaos_slow()`)
    return () => postgres.query('DROP TRIGGER chaos_slow ON chat_messages')
  }
}

/** The disk is mounted on `small-disk` in the directory of the world. */
export const fillPostgresDisk: Fault = (ctx) => async () => {
  const ballast = fillUp(`${ctx.world.directory}/small-disk`)
  // The pages that are there already take some rows.
  await ctx.until('PostgreSQL cannot write', 20 * SECOND, () => failsToWrite(ctx))
  return async () => {
    ballast.remove()
    await ctx.world.postgres.untilUp()
  }
}

async function failsToWrite({ world }: ScenarioContext): Promise<boolean> {
  try {
    await world.postgres.query('CREATE TABLE IF NOT EXISTS chaos_ballast (data text)')
    await world.postgres.query(`INSERT INTO chaos_ballast SELECT string_agg(md5(random()::text), '')
      FROM generate_series(1, 20000)`)
    return false
  } catch {
    return true
  }
}

const TERMINATE_SESSIONS = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE application_name LIKE 'wa-ingest%'`

/** Ends some of the service's sessions. */
export const terminateSessions: Fault =
  ({ world }) =>
  async () => {
    await world.postgres.query(`${TERMINATE_SESSIONS} AND random() < 0.4`)
    return () => {}
  }

/** Ends the service's sessions and takes their connection slots faster than the service connects again. */
export const takeEverySlot: Fault =
  ({ world }) =>
  async () => {
    const clients: pg.Client[] = []
    let isOver = false
    const takeSlots = async () => {
      while (!isOver) {
        const client = new pg.Client({
          connectionString: world.postgres.url,
          application_name: 'chaos storm',
        })
        client.on('error', () => {})
        try {
          await client.connect()
          clients.push(client)
          await client.query(TERMINATE_SESSIONS)
        } catch {
          await sleep(20)
        }
      }
    }
    const takers = Array.from({ length: 4 }, takeSlots)
    return async () => {
      isOver = true
      await Promise.all(takers)
      await Promise.allSettled(clients.map((client) => client.end()))
    }
  }
