/**
 * Which old tables have names of ours, and what of each conflicts with ours.
 *
 * `chat_messages` is taken over in place, and so is `conversations` where its ids are numbers. Any other table, and any
 * column of another type or meaning, can only be set aside: renamed to old_… with everything in it, when the operator
 * allows it.
 */
import type { ProviderName } from '../../core/event.ts'
import { quoteName } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import { type ColumnShape, columnOf, type Shapes, type TableShape } from './shape.ts'

/** Tables that are taken over in place. The quarantine is there where dedupe has run before. */
export const ADOPTED = ['conversations', 'chat_messages', 'chat_messages_duplicates'] as const

/**
 * The words that columns of ours may have, beside the names of the providers. An old column of that name with other words
 * means something else.
 */
const WORDS: Record<string, readonly string[]> = {
  direction: ['inbound', 'outbound'],
  source: ['webhook', 'echo', 'history', 'backfill', 'api'],
}

/** Columns whose content is particular to this service. An old one of that name means something else, unless it is empty. */
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

/** Tables that have a name of ours and other columns. */
export function findOldTables(shapes: Shapes, targetSchema: Shapes): string[] {
  return [...targetSchema.keys()].filter((name) => {
    const [old, target] = [shapes.get(name), targetSchema.get(name)]
    return old !== undefined && target !== undefined && !hasSameColumns(old, target)
  })
}

function hasSameColumns(old: TableShape, target: TableShape): boolean {
  const text = ({ columns }: TableShape) =>
    columns
      .map(({ name, type, isNotNull }) => `${name} ${type} ${isNotNull}`)
      .sort()
      .join()
  return old.kind === target.kind && text(old) === text(target)
}

/** What cannot become ours as it is, and can be set aside. */
export async function findConflicts(
  query: Query,
  shapes: Shapes,
  targetSchema: Shapes,
  providers: readonly ProviderName[],
): Promise<Conflict[]> {
  const words: Record<string, readonly string[]> = { ...WORDS, provider: providers }
  const old = findOldTables(shapes, targetSchema)
  const whole = old
    .filter((name) => !isAdoptable(name, shapes))
    .map((table): Conflict => ({ table, reason: describeForeignTable(shapes.get(table)) }))
  const parts: Conflict[] = []
  for (const table of old.filter((name) => isAdoptable(name, shapes))) {
    for (const column of targetSchema.get(table)?.columns ?? []) {
      const reason = await columnConflict(query, { shapes, table, target: column, words: words[column.name] })
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

type ColumnQuestion = {
  shapes: Shapes
  table: string
  target: ColumnShape
  words: readonly string[] | undefined
}

async function columnConflict(
  query: Query,
  { shapes, table, target, words }: ColumnQuestion,
): Promise<string | undefined> {
  const { name, type } = target
  const old = columnOf(shapes.get(table), name)
  // The id is never set aside, because rows keep their ids.
  if (old === undefined || name === 'id') return undefined
  if (old.isGenerated) return 'it is computed from other columns'
  if (conversionOf(old.type, type) === 'none') return `it is ${old.type}, not ${type}`
  const reference = referenceConflict(shapes, table, name)
  if (reference !== undefined) return reference
  if (words !== undefined) return wordConflict(query, table, name, words)
  if (!OWN_MEANING.includes(name)) return undefined
  return (await hasValues(query, table, name)) ? 'it holds something else' : undefined
}

/** A foreign key to a table that will not be ours gives the column another meaning. */
function referenceConflict(shapes: Shapes, table: string, column: string): string | undefined {
  const isOurs = (target: string) =>
    isAdoptable(target, shapes) ||
    (target === 'contacts' && columnOf(shapes.get('contacts'), 'merged_into') !== undefined)
  for (const { kind, columns, target } of shapes.get(table)?.constraints ?? [])
    if (kind === 'f' && columns.includes(column) && target !== null && !isOurs(target))
      return `it refers to ${target}`
  return undefined
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
 * What it takes to change the type of a column: nothing (`same`), an entry in the catalogue (`instant`), a rewrite of the
 * whole table under a lock (`rewrite`); `none`: it cannot be done without a loss.
 */
export function conversionOf(from: string, to: string): 'same' | 'instant' | 'rewrite' | 'none' {
  if (from === to) return 'same'
  const rules = CONVERSIONS[to] ?? []
  return rules.find(([pattern]) => pattern.test(from))?.[1] ?? 'none'
}

/** By the type to change to; the first pattern that fits the old type counts. Every type can become text. */
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
