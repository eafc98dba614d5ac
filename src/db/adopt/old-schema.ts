/**
 * Which old tables stand where ours should be, and what of each can become ours.
 *
 * `chat_messages` is taken over in place, and so is `conversations` where its ids are numbers. Any other table, and any
 * column of another type or meaning, can only be set aside: renamed to old_…, with everything in it, when the operator
 * allows it.
 */
import { detailOf } from '../../core/fact.ts'
import { quoteName } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import { type ColumnShape, columnOf, type TableShape } from './shape.ts'

export type Shapes = ReadonlyMap<string, TableShape>

/** Taken over in place. The quarantine is there where dedupe has run before. */
export const ADOPTED = ['conversations', 'chat_messages', 'chat_messages_duplicates'] as const

/** What old rows and old writers have in required columns of ours. */
export const DEFAULTS: Record<string, Record<string, string>> = {
  chat_messages: {
    direction: 'inbound',
    source: 'backfill',
    detail: String(detailOf('backfill', false)),
    message_type: 'text',
  },
  conversations: {},
}

/** Words that a column of ours may have; an old column of that name with other words means something else. */
const WORDS: Record<string, readonly string[]> = {
  direction: ['inbound', 'outbound'],
  provider: ['meta', 'twilio'],
  source: ['webhook', 'echo', 'history', 'backfill', 'api'],
}

/** Columns whose content only this project understands: an old one of that name is another, unless it is empty. */
const OWN_MEANING = [
  'error',
  'media',
  'referral',
  'request',
  'request_hash',
  'resend_of',
  'raw',
  'target_wa_message_id',
  'callback_id',
  'not_before',
  'sending_since',
  'looked_up_at',
]

export type Conflict = {
  table: string
  /** Absent: the whole table. */
  column?: string
  reason: string
}

/** Tables of the targetSchema that are there, and are not ours already. */
export function findOldTables(shapes: Shapes, targetSchema: Shapes): string[] {
  return [...targetSchema.keys()].filter((name) => {
    const [there, ours] = [shapes.get(name), targetSchema.get(name)]
    return there !== undefined && ours !== undefined && !hasSameColumns(there, ours)
  })
}

function hasSameColumns(there: TableShape, ours: TableShape): boolean {
  const text = ({ columns }: TableShape) =>
    columns
      .map(({ name, type, isNotNull }) => `${name} ${type} ${isNotNull}`)
      .sort()
      .join()
  return there.kind === ours.kind && text(there) === text(ours)
}

/** What cannot become ours as it is, and could be set aside. */
export async function findConflicts(query: Query, shapes: Shapes, targetSchema: Shapes): Promise<Conflict[]> {
  const old = findOldTables(shapes, targetSchema)
  const whole = old
    .filter((name) => !isAdoptable(name, shapes))
    .map((table): Conflict => ({ table, reason: describeForeignTable(shapes.get(table)) }))
  const parts: Conflict[] = []
  for (const table of old.filter((name) => isAdoptable(name, shapes))) {
    for (const column of targetSchema.get(table)?.columns ?? []) {
      const reason = await columnConflict(query, { shapes, table, ours: column })
      if (reason !== undefined) parts.push({ table, column: column.name, reason })
    }
  }
  return [...whole, ...parts]
}

function describeForeignTable(table: TableShape | undefined): string {
  const kind = { v: 'a view', m: 'a materialized view', f: 'a foreign table', p: 'partitioned' }[
    table?.kind ?? ''
  ]
  return kind === undefined ? 'it has other columns' : `it is ${kind}`
}

function isAdoptable(name: string, shapes: Shapes): boolean {
  const table = shapes.get(name)
  if (table?.kind !== 'r') return false
  if (name === 'chat_messages') return true
  if (name === 'chat_messages_duplicates') return columnOf(table, 'kept_id') !== undefined
  return name === 'conversations' && isInteger(columnOf(table, 'id')?.type)
}

export function isInteger(type: string | undefined): boolean {
  return type === 'smallint' || type === 'integer' || type === 'bigint'
}

async function columnConflict(
  query: Query,
  { shapes, table, ours }: { shapes: Shapes; table: string; ours: ColumnShape },
): Promise<string | undefined> {
  const there = columnOf(shapes.get(table), ours.name)
  // The id is never set aside: without it no row is the same row.
  if (there === undefined || ours.name === 'id') return undefined
  if (there.isGenerated) return 'it is computed from other columns'
  if (conversionOf(there.type, ours.type) === 'none') return `it is ${there.type}, not ${ours.type}`
  const reference = referenceConflict(shapes, table, ours.name)
  if (reference !== undefined) return reference
  const words = WORDS[ours.name]
  if (words !== undefined) return wordConflict(query, table, ours.name, words)
  if (!OWN_MEANING.includes(ours.name)) return undefined
  return (await hasValues(query, table, ours.name)) ? 'it holds something else' : undefined
}

/** A column that refers to a table which is not going to be ours refers to something else. */
function referenceConflict(shapes: Shapes, table: string, column: string): string | undefined {
  const foreign = shapes
    .get(table)
    ?.constraints.find(({ kind, columns }) => kind === 'f' && columns.includes(column))
  const target = foreign?.target
  if (target === undefined || target === null) return undefined
  const isKept = ADOPTED.some((name) => name === target) && isAdoptable(target, shapes)
  const isOurs = target === 'contacts' && columnOf(shapes.get('contacts'), 'merged_into') !== undefined
  return isKept || isOurs ? undefined : `it refers to ${target}`
}

async function wordConflict(
  query: Query,
  table: string,
  column: string,
  words: readonly string[],
): Promise<string | undefined> {
  const { rows } = await query<{ word: string }>(
    `SELECT DISTINCT ${quoteName(column)}::text AS word FROM ${quoteName(table)}
     WHERE ${quoteName(column)}::text <> ALL($1::text[]) ORDER BY 1 LIMIT 5`,
    [words],
  )
  return rows.length === 0 ? undefined : `it has other words: ${rows.map(({ word }) => word).join(', ')}`
}

async function hasValues(query: Query, table: string, column: string): Promise<boolean> {
  const { rows } = await query<{ has: boolean }>(
    `SELECT EXISTS (SELECT FROM ${quoteName(table)} WHERE ${quoteName(column)} IS NOT NULL) AS has`,
  )
  return rows[0]?.has === true
}

/**
 * What it takes to make a column of one type one of another: nothing, a note in the catalogue, a rewrite of the whole
 * table under a lock, or it cannot be done without a loss.
 */
export function conversionOf(from: string, to: string): 'same' | 'instant' | 'rewrite' | 'none' {
  if (from === to) return 'same'
  const rules = CONVERSIONS[to] ?? []
  return rules.find(([pattern]) => pattern.test(from))?.[1] ?? 'none'
}

/** By target; the first pattern that fits the type counts. Everything has a text. */
const CONVERSIONS: Record<string, [RegExp, 'instant' | 'rewrite'][]> = {
  text: [
    [/^character varying/, 'instant'],
    [/^/, 'rewrite'],
  ],
  bigint: [[/^(?:smallint|integer)$/, 'rewrite']],
  integer: [[/^smallint$/, 'rewrite']],
  'timestamp with time zone': [
    [/^timestamp(?:\(\d\))? with time zone$/, 'instant'],
    [/^(?:timestamp(?:\(\d\))? without time zone|date)$/, 'rewrite'],
  ],
  jsonb: [[/^json$/, 'rewrite']],
}
