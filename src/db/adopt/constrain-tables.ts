/**
 * Giving filled tables our constraints and indexes, without a long lock: a constraint is added NOT VALID and then
 * validated beside the writers, an index is built concurrently.
 */
import { MESSAGES } from '../any-table/message-index.ts'
import { quoteName } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import { inspectIndex } from '../any-table/unique-index.ts'
import { changeTable } from './alter-tables.ts'
import { ADOPTED, type Shapes } from './old-schema.ts'
import { type ConstraintShape, columnOf, type IndexShape, type TableShape } from './shape.ts'

export type Constraining = { query: Query; signal?: AbortSignal | undefined; onStep: (what: string) => void }

/** Required columns are required, without a scan under a lock: PostgreSQL takes the validated CHECK for proof. */
export async function requireColumns(run: Constraining, there: TableShape, ours: TableShape): Promise<void> {
  const table = quoteName(there.name)
  for (const { name, isNotNull } of ours.columns) {
    if (!isNotNull || columnOf(there, name)?.isNotNull !== false) continue
    const [column, check] = [quoteName(name), quoteName(`wa_ingest_${name}_not_null`)]
    run.onStep(`${there.name}.${name}`)
    await changeTable(
      run.query,
      [
        `ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${check}`,
        `ALTER TABLE ${table} ADD CONSTRAINT ${check} CHECK (${column} IS NOT NULL) NOT VALID`,
      ],
      run.signal,
    )
    await run.query(`ALTER TABLE ${table} VALIDATE CONSTRAINT ${check}`)
    await changeTable(
      run.query,
      [
        `ALTER TABLE ${table} ALTER COLUMN ${column} SET NOT NULL`,
        `ALTER TABLE ${table} DROP CONSTRAINT ${check}`,
      ],
      run.signal,
    )
  }
}

/** The primary key, where nothing makes the id unique yet. */
export async function requireKey(run: Constraining, there: TableShape): Promise<void> {
  const isUnique = there.indexes.some(
    ({ isUnique: unique, isValid, columns, definition }) =>
      unique && isValid && columns.join() === 'id' && !definition.includes(' WHERE '),
  )
  if (isUnique) return
  run.onStep(`${there.name}.id`)
  const index = quoteName(`${there.name}_id_unique`)
  await buildIndex(run, there.name, {
    name: `${there.name}_id_unique`,
    definition: `CREATE UNIQUE INDEX ${index} ON ${quoteName(there.name)} USING btree (id)`,
  })
  const hasPrimaryKey = there.constraints.some(({ kind }) => kind === 'p')
  await changeTable(
    run.query,
    [
      `ALTER TABLE ${quoteName(there.name)} ADD CONSTRAINT ${index} ${hasPrimaryKey ? 'UNIQUE' : 'PRIMARY KEY'} USING INDEX ${index}`,
    ],
    run.signal,
  )
}

/** Checks and foreign keys of ours that a table lacks. */
export async function addConstraints(run: Constraining, there: TableShape, ours: TableShape): Promise<void> {
  const missing = ours.constraints.filter(
    (constraint) => (constraint.kind === 'c' || constraint.kind === 'f') && !hasConstraint(there, constraint),
  )
  const table = quoteName(there.name)
  for (const { name, definition } of missing) {
    run.onStep(name)
    const add = `ALTER TABLE ${table} ADD CONSTRAINT ${quoteName(name)} ${definition} NOT VALID`
    await changeTable(
      run.query,
      [`ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${quoteName(name)}`, add],
      run.signal,
    )
    await run.query(`ALTER TABLE ${table} VALIDATE CONSTRAINT ${quoteName(name)}`)
  }
}

/** An old foreign key to the same table serves as well, whatever it does on delete. */
function hasConstraint(there: TableShape, ours: ConstraintShape): boolean {
  return there.constraints.some(
    (old) =>
      old.kind === ours.kind &&
      (ours.kind === 'f'
        ? old.columns.join() === ours.columns.join() && old.target === ours.target
        : old.definition === ours.definition),
  )
}

/** Indexes of ours that a table lacks, or has only as INVALID ones. */
export async function addIndexes(run: Constraining, there: TableShape, ours: TableShape): Promise<void> {
  for (const index of ours.indexes) {
    if (
      index.constraint !== null ||
      there.indexes.some(({ name, isValid }) => name === index.name && isValid)
    )
      continue
    run.onStep(index.name)
    await buildIndex(run, there.name, index)
  }
}

/** @throws when rows stand against a unique index; what the attempt left is gone then. */
async function buildIndex(
  { query }: Constraining,
  table: string,
  { name, definition }: Pick<IndexShape, 'name' | 'definition'>,
): Promise<void> {
  await query(`DROP INDEX CONCURRENTLY IF EXISTS ${quoteName(name)}`)
  try {
    await query(definition.replace(/^CREATE (UNIQUE )?INDEX /, 'CREATE $1INDEX CONCURRENTLY '))
  } catch (err) {
    await query(`DROP INDEX CONCURRENTLY IF EXISTS ${quoteName(name)}`)
    throw new Error(
      `the index ${name} of ${table} cannot be built: ${err instanceof Error ? err.message : String(err)}`,
      {
        cause: err,
      },
    )
  }
}

/** Names of our indexes that something else has; in words, with what to do. */
export async function findTakenNames(
  query: Query,
  shapes: Shapes,
  targetSchema: Shapes,
  schema: string,
): Promise<string[]> {
  const taken: string[] = []
  for (const table of ADOPTED) {
    const there = shapes.get(table)
    for (const index of there === undefined ? [] : (targetSchema.get(table)?.indexes ?? [])) {
      if (index.constraint !== null) continue
      const reason = await findTaken(query, there, index, schema)
      if (reason !== undefined) taken.push(reason)
    }
  }
  return taken
}

async function findTaken(
  query: Query,
  there: TableShape | undefined,
  ours: IndexShape,
  schema: string,
): Promise<string | undefined> {
  const old = there?.indexes.find(({ name }) => name === ours.name)
  if (!there || !old?.isValid) return undefined
  const isTheOne = ours.name === indexOfMessages.name
  const isSame = isTheOne
    ? (
        await inspectIndex(query, {
          oid: there.oid,
          schema,
          indexName: ours.name,
          column: { name: MESSAGES.column },
        })
      ).fault === undefined
    : plain(old.definition) === plain(ours.definition)
  if (isSame) return undefined
  return isTheOne
    ? `the index ${ours.name} has another definition: ${old.definition}; run: npx wa-ingest dedupe --apply --replace-index`
    : `the index ${ours.name} has another definition: ${old.definition}; run: ALTER INDEX ${quoteName(ours.name)} RENAME TO ${quoteName(`old_${ours.name}`)}`
}

const indexOfMessages = { name: 'idx_chat_messages_wa_message_id_unique' }

/** Columns of other types show casts. */
function plain(definition: string): string {
  return definition.replaceAll(/::(?:text|character varying)|[()\s]/g, '')
}
