/**
 * Adoption: takes over the tables of an old chat system.
 *
 * Everything is checked before anything is changed: what cannot be taken over is refused with the reason and the next
 * command. Each step then looks at what is there, so an adoption that was stopped continues when it is run again. Nothing is
 * deleted: ids, data and extra columns stay. What is in the way is renamed, and only when the operator allows it.
 */
import type { Kysely } from 'kysely'
import { type Query, queryWithKysely } from '../any-table/query.ts'
import { TableError } from '../any-table/table-error.ts'
import type { Database } from '../schema.ts'
import {
  type AdoptionRun,
  type AdoptProgress,
  changeTable,
  columnStatements,
  continueIds,
  setAsideStatements,
} from './alter-tables.ts'
import { ADOPTED, type Conflict, findConflicts, findOldTables } from './conflicts.ts'
import { addConstraints, addIndexes, requireColumns, requireKey } from './constrain-tables.ts'
import { type Filled, fillConversations } from './fill-conversations.ts'
import { fillMessages } from './fill-messages.ts'
import { findObstacles } from './obstacles.ts'
import { readShapes, type Shapes } from './shape.ts'
import { findSources, type SourceOptions, type Sources } from './sources.ts'
import { createMissingTables, readTargetSchema } from './target-schema.ts'
import { tryService } from './try-service.ts'

export type AdoptOptions = SourceOptions & {
  /** Rename what is in the way to old_…. */
  renameOld?: boolean
  /** Rewrite a large table under a lock. */
  canRewrite?: boolean
  /** Only say what would be done. */
  isDryRun?: boolean
  onProgress?: (progress: AdoptProgress) => void
}

export type Adoption = {
  /** Old tables that are ours now. */
  tables: string[]
  /** What was renamed to old_…: table, or table.column. */
  renamed: string[]
  messages: number
  conversations: number
  conversations_with_phone: number
  /** The assumptions that were made, one sentence each. */
  notes: string[]
}

/**
 * Makes the tables of `schema` what the migrations make of an empty database, around what is there.
 * @param db one connection.
 * @throws TableError with every reason, before anything is changed.
 */
export async function adoptOldTables(
  db: Kysely<Database>,
  schema: string,
  options: AdoptOptions,
  signal?: AbortSignal,
): Promise<Adoption> {
  const query = queryWithKysely(db)
  const run: AdoptionRun = { query, signal, report: options.onProgress ?? (() => {}) }
  // A limit that the role has would end the long statements.
  await query('SET statement_timeout = 0')
  try {
    const plan = await planAdoption(query, schema, await readTargetSchema(db), options)
    if (options.isDryRun) return describe(plan, { conversations: 0, with_phone: 0 })
    const present = await alterColumns(run, schema, plan)
    await createMissingTables(db, schema, (table) => !present.has(table))
    const filled = await fill(run, plan)
    await constrain(run, schema, plan.targetSchema)
    await tryService(query, plan.sources.provider)
    return describe(plan, filled)
  } finally {
    await query('RESET statement_timeout').catch(() => undefined)
  }
}

type Plan = {
  shapes: Shapes
  targetSchema: Shapes
  conflicts: Conflict[]
  sources: Sources
  old: string[]
  messages: number
}

async function planAdoption(
  query: Query,
  schema: string,
  targetSchema: Shapes,
  options: AdoptOptions,
): Promise<Plan> {
  const shapes = await readShapes(query, schema)
  const conflicts = await findConflicts(
    query,
    shapes,
    targetSchema,
    options.providers.map(({ name }) => name),
  )
  const sources = await findSources(query, shapes, conflicts, options)
  const obstacles = [
    ...(await findObstacles(query, shapes, targetSchema, conflicts, {
      schema,
      canRewrite: options.canRewrite === true,
    })),
    ...sources.obstacles,
    ...(options.renameOld ? [] : describeConflicts(conflicts)),
  ]
  if (obstacles.length > 0) throw new TableError(obstacles.join('\n'))
  const { rows } = shapes.has('chat_messages')
    ? await query<{ count: string }>('SELECT count(*) AS count FROM chat_messages')
    : { rows: [] }
  return {
    shapes,
    targetSchema,
    conflicts,
    sources,
    old: findOldTables(shapes, targetSchema),
    messages: Number(rows[0]?.count ?? 0),
  }
}

function describeConflicts(conflicts: readonly Conflict[]): string[] {
  if (conflicts.length === 0) return []
  return [
    ...conflicts.map(({ table, column, reason }) =>
      column === undefined
        ? `the table ${table} is in the way: ${reason}`
        : `the column ${table}.${column} is in the way: ${reason}`,
    ),
    'to rename what is in the way to old_…, with all that is in it, run: npx wa-ingest migrate --rename-old',
  ]
}

/** @returns the tables that are there afterwards. */
async function alterColumns(
  run: AdoptionRun,
  schema: string,
  { shapes, targetSchema, conflicts, sources }: Plan,
): Promise<Shapes> {
  if (conflicts.length > 0) await changeTable(run, setAsideStatements(conflicts, shapes))
  const present = await readShapes(run.query, schema)
  for (const name of ADOPTED) {
    const [old, target] = [present.get(name), targetSchema.get(name)]
    if (!old || !target) continue
    run.report({ step: `columns of ${name}`, done: 0, total: 0 })
    await changeTable(run, columnStatements(old, target, sources.defaults[name] ?? {}))
    await continueIds(run, name)
  }
  return present
}

async function fill(run: AdoptionRun, { sources, old }: Plan): Promise<Filled> {
  if (!old.includes('chat_messages') && !old.includes('conversations'))
    return { conversations: 0, with_phone: 0 }
  const filled = await fillConversations(run, sources)
  await fillMessages(run, sources)
  return filled
}

/** Keys come first, because foreign keys need them. */
async function constrain(run: AdoptionRun, schema: string, targetSchema: Shapes): Promise<void> {
  const filled = await readShapes(run.query, schema)
  for (const name of ADOPTED) {
    const [old, target] = [filled.get(name), targetSchema.get(name)]
    if (!old || !target) continue
    await requireColumns(run, old, target)
    await requireKey(run, old)
  }
  const keyed = await readShapes(run.query, schema)
  for (const target of targetSchema.values()) {
    const old = keyed.get(target.name)
    if (!old) continue
    await addConstraints(run, old, target)
    await addIndexes(run, old, target)
  }
  await run.query('ANALYZE chat_messages')
}

function describe({ old, conflicts, messages, sources }: Plan, filled: Filled): Adoption {
  const isAside = (name: string) =>
    conflicts.some(({ table, column }) => table === name && column === undefined)
  return {
    tables: old.filter((name) => !isAside(name)),
    renamed: conflicts.map(({ table, column }) => (column === undefined ? table : `${table}.${column}`)),
    messages,
    conversations: filled.conversations,
    conversations_with_phone: filled.with_phone,
    notes: sources.notes,
  }
}
