/**
 * Whether the unique index on the message id of chat_messages is there, valid and the right one. Without it a message can be
 * stored twice, so the service checks it at its start and in readiness.
 */
import type { Kysely } from 'kysely'
import type { Database } from '../schema.ts'
import { type Query, queryWithKysely } from './query.ts'
import { indexNameFor } from './target.ts'
import { describeFault, type IndexState, inspectIndex } from './unique-index.ts'

/** The messages of this service: their table, and the column with their ids. */
export const MESSAGES = { table: 'chat_messages', column: 'wa_message_id' } as const

export type Verification = {
  ok: boolean
  /** One line each, with the next step. */
  problems: string[]
  index: IndexState
}

/**
 * Reads the catalogue only, so it is fast at any size of the table.
 * @throws when the database does not answer, or when another session holds a lock on the whole table for longer than
 * `lockTimeoutMs` (SQLSTATE 55P03): PostgreSQL locks the table in order to print the predicate of its index.
 */
export async function verifyDatabase(
  db: Kysely<Database>,
  { lockTimeoutMs = 0 }: { lockTimeoutMs?: number } = {},
): Promise<Verification> {
  return db.transaction().execute(async (trx) => {
    const query = queryWithKysely(trx)
    await query(`SET LOCAL lock_timeout = ${lockTimeoutMs}`)
    return verify(query)
  })
}

async function verify(query: Query): Promise<Verification> {
  const { rows } = await query<{ oid: string; schema: string }>(
    `SELECT c.oid::text AS oid, n.nspname AS schema FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass($1)`,
    [MESSAGES.table],
  )
  const indexName = indexNameFor(MESSAGES.table, MESSAGES.column)
  const { oid, schema } = rows[0] ?? { oid: '0', schema: '' }
  const index = await inspectIndex(query, { oid, schema, indexName, column: { name: MESSAGES.column } })
  const problem = rows[0]
    ? describeFault(index, MESSAGES.table, 'npx wa-ingest dedupe --apply')
    : `there is no table ${MESSAGES.table}; run: npx wa-ingest migrate`
  return { ok: problem === undefined, problems: problem === undefined ? [] : [problem], index }
}
