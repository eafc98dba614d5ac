/**
 * Whether a message can be stored twice: the unique index is there, valid, and the right one.
 *
 * The look at the catalogue alone guards the start and the readiness check. The whole audit also reads the table, for
 * people.
 */
import type { Kysely } from 'kysely'
import { countQuarantined } from './any-table/quarantine.ts'
import { type Query, queryWithKysely } from './any-table/query.ts'
import { describeTarget, indexNameFor, type Target, type TargetOptions } from './any-table/target.ts'
import { describeFault, type IndexState, inspectIndex } from './any-table/unique-index.ts'
import { countDuplicates, type Duplicates } from './dedupe/count-duplicates.ts'
import { areLeftoversEmpty, describeLeftovers, findLeftovers, type Leftovers } from './dedupe/leftovers.ts'
import { isRunAtWork } from './dedupe/session.ts'
import type { Database } from './schema.ts'

export const MESSAGES = { table: 'chat_messages', column: 'wa_message_id' } as const

export type Verification = {
  ok: boolean
  /** One line each, with the next step. */
  problems: string[]
  index: IndexState
}

export type Audit = Verification & {
  table: string
  column: string
  rows: number
  /** Rows with an id, and rows whose id is null or empty, which the index leaves alone. */
  with_id: number
  without_id: number
  duplicates: Duplicates
  quarantined: number
  /** Newest first. */
  latest: Record<string, unknown>[]
  /** Traces of a dedupe run, and whether one is at work. */
  leftovers: Leftovers
  run_at_work: boolean
}

const LATEST = 5
const LATEST_COLUMNS = [
  'direction',
  'provider',
  'message_type',
  'status',
  'content',
  'created_at',
  'createdAt',
]
const CONTENT_LENGTH = 60

/**
 * Reads the catalogue only: fast at any size.
 * @throws when the database does not answer, or somebody holds a lock on the whole table for longer than the time-out
 * (SQLSTATE 55P03): PostgreSQL shows the predicate of an index only to those who may look at its table.
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
    ? describeFault(index, MESSAGES.table, commandFor(MESSAGES))
    : `there is no table ${MESSAGES.table}; run: npx wa-ingest migrate`
  return { ok: problem === undefined, problems: problem === undefined ? [] : [problem], index }
}

/** Reads the whole table. @throws DedupeError when there is no such table or column, or it is none that can be unique. */
export async function auditTable(query: Query, options: TargetOptions): Promise<Audit> {
  const target = await describeTarget(query, options)
  const index = await inspectIndex(query, target)
  const counts = await countRows(query, target)
  const duplicates = await countDuplicates(query, target)
  const leftovers = await findLeftovers(query, target)
  const isAtWork = await isRunAtWork(query, target)
  const command = commandFor(options)
  const problems = [
    describeFault(index, target.label, command),
    duplicates.groups > 0
      ? `${duplicates.groups} ids of ${target.label} are there more than once; run: ${command}`
      : undefined,
    areLeftoversEmpty(leftovers) || isAtWork
      ? undefined
      : `a dedupe run was killed and left ${describeLeftovers(leftovers)}; run: ${command}, or only tidy up: ${command.replace('--apply', '--clean-up')}`,
  ].filter((problem) => problem !== undefined)
  return {
    ok: problems.length === 0,
    problems,
    table: target.label,
    column: target.column.name,
    index,
    ...counts,
    duplicates,
    quarantined: await countQuarantined(query, target),
    latest: await readLatest(query, target),
    leftovers,
    run_at_work: isAtWork,
  }
}

/** The command that repairs, for this table. */
export function commandFor({ table, column, orderBy }: TargetOptions): string {
  const isOurs = table === MESSAGES.table && column === MESSAGES.column
  const names = isOurs ? '' : ` --table ${shellWord(table)} --column ${shellWord(column)}`
  const order = orderBy === undefined ? '' : ` --order-by ${shellWord(orderBy)}`
  return `npx wa-ingest dedupe${names}${order} --apply`
}

function shellWord(text: string): string {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

async function countRows(query: Query, { sql, predicate }: Target) {
  const { rows } = await query<{ rows: string; with_id: string }>(
    `SELECT count(*) AS rows, count(*) FILTER (WHERE ${predicate}) AS with_id FROM ${sql}`,
  )
  const [all, withId] = [Number(rows[0]?.rows ?? 0), Number(rows[0]?.with_id ?? 0)]
  return { rows: all, with_id: withId, without_id: all - withId }
}

async function readLatest(query: Query, target: Target): Promise<Record<string, unknown>[]> {
  const known = target.columns.filter(({ name }) => LATEST_COLUMNS.includes(name))
  const shown = [...target.key, target.column, ...known].map(({ name, sql }) =>
    name === 'content' ? `left(${sql}::text, ${CONTENT_LENGTH}) AS content` : sql,
  )
  const order = target.order.map(({ sql }) => `${sql} DESC`).join(', ')
  const { rows } = await query<Record<string, unknown>>(
    `SELECT ${shown.join(', ')} FROM ${target.sql} ORDER BY ${order} LIMIT ${LATEST}`,
  )
  return rows
}
