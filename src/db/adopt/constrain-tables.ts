/**
 * Gives filled tables our constraints and indexes without a long lock: a constraint is added NOT VALID and validated while
 * writers go on, an index is built concurrently.
 */
import { quoteName } from '../any-table/names.ts'
import { type AdoptionRun, changeTable } from './alter-tables.ts'
import { type ConstraintShape, columnOf, type IndexShape, type TableShape } from './shape.ts'

/** Sets NOT NULL without a scan under a lock: PostgreSQL accepts a validated CHECK as the proof. */
export async function requireColumns(run: AdoptionRun, old: TableShape, target: TableShape): Promise<void> {
  for (const { name, isNotNull } of target.columns) {
    if (!isNotNull || columnOf(old, name)?.isNotNull !== false) continue
    const [column, check] = [quoteName(name), `wa_ingest_${name}_not_null`]
    reportStep(run, `${old.name}.${name}`)
    await addValidated(run, old, check, `CHECK (${column} IS NOT NULL)`)
    await changeTable(run, [
      `ALTER TABLE ${quoteName(old.name)} ALTER COLUMN ${column} SET NOT NULL`,
      `ALTER TABLE ${quoteName(old.name)} DROP CONSTRAINT ${quoteName(check)}`,
    ])
  }
}

/** Adds the primary key where no index makes the id unique. */
export async function requireKey(run: AdoptionRun, old: TableShape): Promise<void> {
  const isUnique = old.indexes.some(
    (index) =>
      index.isUnique &&
      index.isValid &&
      index.columns.join() === 'id' &&
      !index.definition.includes(' WHERE '),
  )
  if (isUnique) return
  reportStep(run, `${old.name}.id`)
  const [table, name] = [quoteName(old.name), `${old.name}_id_unique`]
  await buildIndex(run, old, {
    name,
    definition: `CREATE UNIQUE INDEX ${quoteName(name)} ON ${table} USING btree (id)`,
  })
  const kind = old.constraints.some((constraint) => constraint.kind === 'p') ? 'UNIQUE' : 'PRIMARY KEY'
  await changeTable(run, [
    `ALTER TABLE ${table} ADD CONSTRAINT ${quoteName(name)} ${kind} USING INDEX ${quoteName(name)}`,
  ])
}

/** Adds the checks and foreign keys that a table lacks. */
export async function addConstraints(run: AdoptionRun, old: TableShape, target: TableShape): Promise<void> {
  for (const constraint of target.constraints) {
    const { name, kind, definition } = constraint
    if ((kind !== 'c' && kind !== 'f') || hasConstraint(old, constraint)) continue
    reportStep(run, name)
    await addValidated(run, old, name, definition)
  }
}

/** An old foreign key to the same table is enough, whatever it does on delete. */
function hasConstraint(table: TableShape, wanted: ConstraintShape): boolean {
  return table.constraints.some(
    ({ kind, columns, target, definition }) =>
      kind === wanted.kind &&
      (kind === 'f'
        ? columns.join() === wanted.columns.join() && target === wanted.target
        : definition === wanted.definition),
  )
}

async function addValidated(run: AdoptionRun, table: TableShape, name: string, definition: string) {
  const [alter, constraint] = [`ALTER TABLE ${quoteName(table.name)}`, quoteName(name)]
  await changeTable(run, [
    `${alter} DROP CONSTRAINT IF EXISTS ${constraint}`,
    `${alter} ADD CONSTRAINT ${constraint} ${definition} NOT VALID`,
  ])
  await run.query(`${alter} VALIDATE CONSTRAINT ${constraint}`)
}

/** Builds the indexes that a table lacks, or has only as INVALID ones. */
export async function addIndexes(run: AdoptionRun, old: TableShape, target: TableShape): Promise<void> {
  for (const index of target.indexes) {
    const isThere = old.indexes.some(({ name, isValid }) => name === index.name && isValid)
    if (index.constraint !== null || isThere) continue
    reportStep(run, index.name)
    await buildIndex(run, old, index)
  }
}

/** @throws when rows violate a unique index; nothing of the attempt is left then. */
async function buildIndex(
  { query }: AdoptionRun,
  table: TableShape,
  { name, definition }: Pick<IndexShape, 'name' | 'definition'>,
): Promise<void> {
  const drop = `DROP INDEX CONCURRENTLY IF EXISTS ${quoteName(name)}`
  await query(drop)
  try {
    await query(definition.replace(/^CREATE (UNIQUE )?INDEX /, 'CREATE $1INDEX CONCURRENTLY '))
  } catch (err) {
    await query(drop)
    const reason = err instanceof Error ? err.message : String(err)
    throw new Error(`the index ${name} of ${table.name} cannot be built: ${reason}`, { cause: err })
  }
}

function reportStep({ report }: AdoptionRun, details: string): void {
  report({ step: 'constraints and indexes', done: 0, total: 0, details })
}
