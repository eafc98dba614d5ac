/**
 * Taking over the tables of an old chat system.
 *
 * Everything is looked at before anything is changed: what cannot be taken over is refused with the reason and the next
 * command. Then every step looks at what is there, so an adoption that was stopped goes on when it is run again. Nothing is
 * deleted: ids, data and extra columns stay; what is in the way is renamed, and only when the operator allows it.
 */
import type { Kysely } from 'kysely'
import { type Query, queryWithKysely } from '../any-table/query.ts'
import type { Database } from '../schema.ts'
import type { AdoptProgress } from './adopt-progress.ts'
import { AdoptionError } from './adoption-error.ts'
import { changeTable, columnStatements, continueIds, setAsideStatements } from './alter-tables.ts'
import {
  addConstraints,
  addIndexes,
  type Constraining,
  findTakenNames,
  requireColumns,
  requireKey,
} from './constrain-tables.ts'
import { fillConversations } from './fill-conversations.ts'
import { fillMessages } from './fill-messages.ts'
import { assertFillable, findObstacles } from './obstacles.ts'
import { ADOPTED, type Conflict, findConflicts, findOldTables, type Shapes } from './old-schema.ts'
import { readShapes } from './shape.ts'
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
  /** Renamed to old_…: table, or table.column. */
  renamed: string[]
  messages: number
  conversations: number
  conversations_with_phone: number
  /** What was taken for granted, one sentence each. */
  notes: string[]
}

/**
 * Makes the tables of `schema` what the migrations would have made of an empty database, around what is there.
 * @param db one connection: what it does belongs together.
 * @throws AdoptionError before anything is changed.
 */
export async function adoptOldTables(
  db: Kysely<Database>,
  schema: string,
  options: AdoptOptions,
  signal?: AbortSignal,
): Promise<Adoption> {
  const targetSchema = await readTargetSchema(db)
  const query = queryWithKysely(db)
  const report = options.onProgress ?? (() => {})
  // A limit of the role would cut what takes long.
  await query('SET statement_timeout = 0')
  try {
    const plan = await planAdoption(query, schema, targetSchema, options)
    if (options.isDryRun) return describe(plan, { conversations: 0, with_phone: 0 })
    const { conflicts, sources } = plan
    if (conflicts.length > 0) await changeTable(query, setAsideStatements(conflicts, plan.shapes), signal)
    const present = await readShapes(query, schema)
    for (const name of ADOPTED) {
      const [there, ours] = [present.get(name), targetSchema.get(name)]
      if (!there || !ours) continue
      report({ step: `columns of ${name}`, done: 0, total: 0 })
      await changeTable(query, columnStatements(there, ours, sources.defaults[name] ?? {}), signal)
      await continueIds(query, name, signal)
    }
    await createMissingTables(db, schema, (table) => !present.has(table))
    const filled = await fill(db, plan, signal)
    const run: Constraining = {
      query,
      signal,
      onStep: (details) => report({ step: 'constraints and indexes', done: 0, total: 0, details }),
    }
    await constrain(run, schema, targetSchema)
    await tryService(query)
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
  assertFillable(targetSchema)
  const conflicts = await findConflicts(query, shapes, targetSchema)
  const obstacles = await findObstacles(query, shapes, targetSchema, conflicts, {
    schema,
    canRewrite: options.canRewrite === true,
  })
  obstacles.push(...(await findTakenNames(query, shapes, targetSchema, schema)))
  const sources = await findSources(query, shapes, conflicts, options)
  obstacles.push(...sources.obstacles)
  if (conflicts.length > 0 && options.renameOld !== true) obstacles.push(...describeConflicts(conflicts))
  if (obstacles.length > 0) throw new AdoptionError(obstacles)
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
  const lines = conflicts.map(({ table, column, reason }) =>
    column === undefined
      ? `the table ${table} is in the way: ${reason}`
      : `the column ${table}.${column} is in the way: ${reason}`,
  )
  return [
    ...lines,
    'to rename what is in the way to old_…, with all that is in it, run: npx wa-ingest migrate --rename-old',
  ]
}

async function fill(db: Kysely<Database>, { sources, targetSchema, old }: Plan, signal?: AbortSignal) {
  const query = queryWithKysely(db)
  if (!old.includes('chat_messages') && !old.includes('conversations'))
    return { conversations: 0, with_phone: 0 }
  const { report } = sources
  const filled = await fillConversations(
    query,
    sources.conversations,
    (done, total) => report({ step: 'conversations', done, total }),
    signal,
  )
  if (targetSchema.has('chat_messages'))
    await fillMessages(
      query,
      sources.messages,
      (done, total) => report({ step: 'messages', done, total }),
      signal,
    )
  return filled
}

/** Keys first: foreign keys need them. */
async function constrain(run: Constraining, schema: string, targetSchema: Shapes): Promise<void> {
  const filled = await readShapes(run.query, schema)
  for (const name of ADOPTED) {
    const there = filled.get(name)
    const ours = targetSchema.get(name)
    if (!there || !ours) continue
    await requireColumns(run, there, ours)
    await requireKey(run, there)
  }
  const keyed = await readShapes(run.query, schema)
  for (const [name, ours] of targetSchema) {
    const there = keyed.get(name)
    if (!there) continue
    await addConstraints(run, there, ours)
    await addIndexes(run, there, ours)
  }
  await run.query('ANALYZE chat_messages')
}

function describe(plan: Plan, filled: { conversations: number; with_phone: number }): Adoption {
  return {
    tables: plan.old.filter(
      (name) => !plan.conflicts.some(({ table, column }) => table === name && column === undefined),
    ),
    renamed: plan.conflicts.map(({ table, column }) => (column === undefined ? table : `${table}.${column}`)),
    messages: plan.messages,
    conversations: filled.conversations,
    conversations_with_phone: filled.with_phone,
    notes: plan.sources.notes,
  }
}
