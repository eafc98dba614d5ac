/** A chat system from before the unique index, and runs of dedupe on it. */
import type { Pool, PoolClient, QueryResultRow } from 'pg'
import { Client } from 'pg'
import { queryWithClient } from '../../../src/db/any-table/query.ts'
import { describeTarget, type TargetOptions } from '../../../src/db/any-table/target.ts'
import { applyDedupe, type DedupeOptions, type DedupeResult } from '../../../src/db/dedupe/apply.ts'
import { type Audit, auditTable } from '../../../src/db/dedupe/audit.ts'
import { type DedupeReport, reportDuplicates } from '../../../src/db/dedupe/report.ts'
import type { DedupeProgress } from '../../../src/db/dedupe/run.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { createEmptyDatabase, type TestDatabase } from '../../support/postgres.ts'

export const OLD_TABLE = `CREATE TABLE chat_messages (
  id serial PRIMARY KEY,
  conversation_id integer,
  wa_message_id varchar(255),
  content text,
  message_type varchar(50) DEFAULT 'text',
  created_at timestamp DEFAULT now()
)`

export const OURS: TargetOptions = { table: 'chat_messages', column: 'wa_message_id' }

/** A database with the old table and these ids in it, one row each: id 1, 2, 3 … */
export async function createOldDatabase(
  ids: readonly (string | null)[] = [],
  table = OLD_TABLE,
): Promise<TestDatabase> {
  const database = await createEmptyDatabase()
  await database.pool.query(table)
  await insertIds(database.pool, ids)
  return database
}

export async function insertIds(pool: Pool, ids: readonly (string | null)[]): Promise<void> {
  await pool.query(
    `INSERT INTO chat_messages (wa_message_id, content)
     SELECT id, 'row ' || n FROM unnest($1::text[]) WITH ORDINALITY AS u(id, n) ORDER BY n`,
    [ids],
  )
}

export function apply({ pool }: TestDatabase, options: Partial<DedupeOptions> = {}): Promise<DedupeResult> {
  return applyDedupe(pool, { ...OURS, signal: new AbortController().signal, ...options })
}

export async function report({ pool }: TestDatabase, options: TargetOptions = OURS): Promise<DedupeReport> {
  return withClient(pool, async (client) => {
    const query = queryWithClient(client)
    return reportDuplicates(query, await describeTarget(query, options))
  })
}

export function audit({ pool }: TestDatabase, options: TargetOptions = OURS): Promise<Audit> {
  return withClient(pool, (client) => auditTable(queryWithClient(client), options))
}

async function withClient<Result>(
  pool: Pool,
  work: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect()
  try {
    return await work(client)
  } finally {
    client.release()
  }
}

/** A connection of its own, ended with the test. A wait for a lock of more than a second is an error. */
export async function connect({ url }: TestDatabase): Promise<Client> {
  const client = new Client(url)
  client.on('error', () => {})
  await client.connect()
  cleanUp(() => client.end().catch(() => {}))
  await client.query("SET lock_timeout = '1s'")
  return client
}

export async function rows<Row extends QueryResultRow>(
  { pool }: TestDatabase,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  return (await pool.query<Row>(text, values)).rows
}

/** Everything that a report must not change: the rows, and the names in the whole catalogue. */
export async function snapshot(database: TestDatabase): Promise<unknown> {
  const catalogue = await rows(
    database,
    `SELECT 'relation' AS kind, relname::text AS name FROM pg_class
       WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)
     UNION ALL SELECT 'function', proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
     UNION ALL SELECT 'trigger', tgname::text FROM pg_trigger ORDER BY 1, 2`,
  )
  const messages = await rows(database, 'SELECT * FROM chat_messages ORDER BY id')
  return { catalogue, messages }
}

export type HeldRun = {
  result: Promise<DedupeResult>
  /** Lets the run go on to its end. */
  release(): Promise<void>
}

/**
 * A run that has moved the duplicates, has its guard set up, and is building its index. A transaction that is older than the
 * index keeps the run there. The table needs an index on the id beforehand, or the run would wait at building its own.
 */
export async function startHeldRun(
  database: TestDatabase,
  options: Partial<DedupeOptions> = {},
): Promise<HeldRun> {
  const holder = await connect(database)
  await holder.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
  await holder.query('SELECT txid_current_snapshot()')
  const { promise: isBuilding, resolve } = Promise.withResolvers<void>()
  const result = apply(database, {
    ...options,
    onProgress: ({ step, details }) => {
      if (step === 'index' && details?.includes('waiting')) resolve()
    },
  })
  result.catch(() => {})
  await Promise.race([isBuilding, result])
  return {
    result,
    release: async () => {
      await holder.query('COMMIT')
    },
  }
}

export const LOOKUP_INDEX = 'CREATE INDEX old_index ON chat_messages (wa_message_id)'

/** A run that waits for the lock on a row to move: its guard is set up, and there is no unique index yet. */
export async function startRunHeldAtMoving(
  ids: readonly string[],
  more = '',
  onProgress: (progress: DedupeProgress) => void = () => {},
): Promise<{ database: TestDatabase; run: HeldRun }> {
  const database = await createOldDatabase([...ids, 'held', 'held'])
  await database.pool.query(`${LOOKUP_INDEX}; ${more}`)
  const locker = await connect(database)
  await locker.query('BEGIN')
  await locker.query('SELECT FROM chat_messages WHERE id = $1 FOR UPDATE', [ids.length + 2])
  const { promise: isWaiting, resolve } = Promise.withResolvers<void>()
  const result = apply(database, {
    onProgress: (progress) => {
      if (progress.details?.includes('row locks')) resolve()
      onProgress(progress)
    },
  })
  result.catch(() => {})
  await Promise.race([isWaiting, result])
  return {
    database,
    run: {
      result,
      release: async () => {
        await locker.query('COMMIT')
      },
    },
  }
}
