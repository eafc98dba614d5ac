/** The audit of one table: whether an id is stored twice now, and whether the unique index keeps that from happening. */
import { MESSAGES, type Verification } from '../any-table/message-index.ts'
import { countQuarantined } from '../any-table/quarantine.ts'
import type { Query } from '../any-table/query.ts'
import { describeTarget, type Target, type TargetOptions } from '../any-table/target.ts'
import { describeFault, inspectIndex } from '../any-table/unique-index.ts'
import { countDuplicates, type Duplicates } from './count-duplicates.ts'
import { areLeftoversEmpty, describeLeftovers, findLeftovers, type Leftovers } from './leftovers.ts'
import { isRunAtWork } from './session.ts'

export type Audit = Verification & {
  table: string
  column: string
  rows: number
  /** Rows with an id, and rows whose id is null or empty, which the index does not cover. */
  with_id: number
  without_id: number
  duplicates: Duplicates
  quarantined: number
  /** The last rows, newest first. */
  latest: Record<string, unknown>[]
  /** What dedupe runs have left in the database, and whether a run is at work now. */
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

/** Reads the whole table. @throws TableError when there is no such table or column, or its values cannot be unique. */
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

/** The command that repairs this table. */
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
