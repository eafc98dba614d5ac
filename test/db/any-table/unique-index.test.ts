import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { cleanUpDedupe } from '../../../src/db/dedupe/apply.ts'
import { eventually } from '../../support/eventually.ts'
import {
  apply,
  audit,
  connect,
  createOldDatabase,
  insertIds,
  OURS,
  report,
  rows,
  startRunHeldAtMoving,
} from '../dedupe/old-table.ts'

const NAME = 'idx_chat_messages_wa_message_id_unique'
const PREDICATE = `WHERE wa_message_id IS NOT NULL AND wa_message_id <> ''`

describe('an index of the name that is there already', () => {
  test('INVALID, left by an earlier try, is built again', async () => {
    const database = await createOldDatabase(['a', 'a', 'b'])
    const failed = database.pool.query(
      `CREATE UNIQUE INDEX CONCURRENTLY ${NAME} ON chat_messages (wa_message_id)`,
    )
    await expect(failed).rejects.toThrow('could not create unique index')
    // An operator may try this next. It succeeds, although the index stays INVALID.
    await database.pool.query(`CREATE UNIQUE INDEX IF NOT EXISTS ${NAME} ON chat_messages (wa_message_id)`)
    const before = await audit(database)

    const result = await apply(database)

    expect(before.problems[0]).toMatch(/INVALID.*npx wa-ingest dedupe --apply/)
    expect(result).toMatchObject({ outcome: 'done', moved: 1, index: 'built' })
    expect(await audit(database)).toMatchObject({ ok: true, index: { is_valid: true, is_unique: true } })
  })

  test.each([
    ['not unique', `CREATE INDEX ${NAME} ON chat_messages (wa_message_id) ${PREDICATE}`],
    ['on another column', `CREATE UNIQUE INDEX ${NAME} ON chat_messages (id)`],
    ['on more columns', `CREATE UNIQUE INDEX ${NAME} ON chat_messages (wa_message_id, id) ${PREDICATE}`],
    ['on an expression', `CREATE UNIQUE INDEX ${NAME} ON chat_messages (lower(wa_message_id)) ${PREDICATE}`],
    ['without its predicate', `CREATE UNIQUE INDEX ${NAME} ON chat_messages (wa_message_id)`],
    [
      'with another predicate',
      `CREATE UNIQUE INDEX ${NAME} ON chat_messages (wa_message_id) ${PREDICATE} AND id > 1`,
    ],
    ['a constraint', `ALTER TABLE chat_messages ADD CONSTRAINT ${NAME} UNIQUE (wa_message_id)`],
  ])('%s is refused, and replaced with --replace-index', async (_what, statement) => {
    const database = await createOldDatabase(['a', 'b', null])
    await database.pool.query(statement)

    await expect(apply(database)).rejects.toThrow(/another definition: CREATE .*--replace-index/)
    expect(await audit(database)).toMatchObject({ ok: false, index: { fault: 'other_definition' } })
    const result = await apply(database, { replaceIndex: true })

    expect(result).toMatchObject({ outcome: 'done', index: 'built' })
    expect((await audit(database)).index.fault).toBeUndefined()
    const indexes = await rows(database, `SELECT indexname FROM pg_indexes WHERE tablename = 'chat_messages'`)
    expect(indexes.map((row) => row.indexname).sort()).toEqual(['chat_messages_pkey', NAME])
  })

  test('INVALID is removed by --clean-up too, so that it refuses no row', async () => {
    const database = await createOldDatabase(['a'])
    await apply(database)
    await database.pool.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = '${NAME}'::regclass`)
    await expect(insertIds(database.pool, ['a'])).rejects.toThrow('duplicate key')

    const left = await cleanUpDedupe(database.pool, { ...OURS, signal: new AbortController().signal })

    expect(left).toBeUndefined()
    await insertIds(database.pool, ['a'])
  })

  test('valid but damaged, so that there are duplicates, is named with the next step', async () => {
    const database = await createOldDatabase(['a'])
    await apply(database)
    const setReady = (isReady: boolean) =>
      `UPDATE pg_index SET indisready = ${isReady} WHERE indexrelid = '${NAME}'::regclass`
    await database.pool.query(setReady(false))
    await insertIds(database.pool, ['a'])
    await database.pool.query(setReady(true))

    const refusal: Error = await apply(database).catch((err) => err)

    expect(await audit(database)).toMatchObject({
      ok: false,
      index: { is_valid: true },
      duplicates: { groups: 1 },
    })
    expect(refusal.message).toContain(
      `1 ids of chat_messages are there more than once although the index ${NAME} is valid`,
    )
    const [, command = ''] = /run: (.*), then this command again/.exec(refusal.message) ?? []
    await database.pool.query(command)
    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 1, index: 'built' })
  })

  test.each([
    ['in the other order', `WHERE wa_message_id <> '' AND wa_message_id IS NOT NULL`],
    ['without the half that says nothing', `WHERE wa_message_id <> ''`],
  ])('with the same predicate %s is the right one', async (_what, predicate) => {
    const database = await createOldDatabase(['a'])
    await database.pool.query(`CREATE UNIQUE INDEX ${NAME} ON chat_messages (wa_message_id) ${predicate}`)

    expect(await apply(database)).toMatchObject({ outcome: 'done', index: 'kept' })
  })

  test('of another table, or no index at all, is refused', async () => {
    const database = await createOldDatabase(['a'])
    await database.pool.query(`CREATE TABLE other (id integer); CREATE INDEX ${NAME} ON other (id)`)

    await expect(apply(database)).rejects.toThrow(
      `the name ${NAME} belongs to something that is no index of chat_messages`,
    )
  })

  test('that another session is building is left to it: the run is refused', async () => {
    const database = await createOldDatabase(['a'])
    const [holder, builder] = [await connect(database), await connect(database)]
    await holder.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM chat_messages')
    await builder.query('SET lock_timeout = 0')
    const building = builder.query(
      `CREATE UNIQUE INDEX CONCURRENTLY ${NAME} ON chat_messages (wa_message_id) ${PREDICATE}`,
    )
    await eventually(async () => {
      const [row] = await rows(database, 'SELECT index_relid::int AS oid FROM pg_stat_progress_create_index')
      expect(row?.oid).toBeGreaterThan(0)
    })

    await expect(apply(database)).rejects.toThrow('being built at this moment; wait for it')
    await holder.query('COMMIT')
    await building
    expect(await apply(database)).toMatchObject({ outcome: 'done', index: 'kept' })
  })
})

test('another index on the id is used, and stays', async () => {
  const database = await createOldDatabase(['a', 'a'])
  await database.pool.query('CREATE INDEX mine ON chat_messages (wa_message_id)')

  await apply(database)

  const indexes = await rows(
    database,
    `SELECT indexname FROM pg_indexes WHERE tablename = 'chat_messages' ORDER BY 1`,
  )
  expect(indexes.map((row) => row.indexname)).toEqual(['chat_messages_pkey', NAME, 'mine'])
})

test('duplicates that slip past the guard are moved, and the index is built again', async () => {
  const { promise: isBuilding, resolve } = Promise.withResolvers<void>()
  const { database, run } = await startRunHeldAtMoving(['a'], '', ({ details }) => {
    if (details?.includes('waiting for writers before build')) resolve()
  })
  const [writer, replica] = [await connect(database), await connect(database)]
  await writer.query(`BEGIN; INSERT INTO chat_messages (wa_message_id) VALUES ('open')`)
  await run.release()
  await Promise.race([isBuilding, run.result])
  // As logical replication writes: no trigger fires.
  await replica.query(`SET session_replication_role = replica`)
  await replica.query(`INSERT INTO chat_messages (wa_message_id) VALUES ('slipped'), ('slipped')`)
  await writer.query('COMMIT')

  expect(await run.result).toMatchObject({ outcome: 'done', moved: 2, index: 'built' })
  expect(await audit(database)).toMatchObject({ ok: true, rows: 4, quarantined: 2 })
})

describe('long ids', () => {
  test('of 2,000 bytes are ids like any other', async () => {
    const long = randomText(2_000)
    const database = await createOldDatabase([])
    await database.pool.query('ALTER TABLE chat_messages ALTER wa_message_id TYPE text')
    await insertIds(database.pool, [long, long, 'b'])

    expect(await report(database)).toMatchObject({ groups: 1, long_ids: 2 })
    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 1 })
  })

  test('too long for an index are refused before anything moves, with the next step', async () => {
    const database = await createOldDatabase([])
    await database.pool.query('ALTER TABLE chat_messages ALTER wa_message_id TYPE text')
    await insertIds(database.pool, ['a', 'a', randomText(9_000)])

    await expect(apply(database)).rejects.toThrow(
      /an id is too long for an index.*set what is longer to NULL/,
    )

    expect(await audit(database)).toMatchObject({
      rows: 3,
      quarantined: 0,
      leftovers: { triggers: [], indexes: [], hasDiverted: false },
    })
  })
})

/** Random, so that compression does not shorten it. */
function randomText(length: number): string {
  return randomBytes(length).toString('base64').slice(0, length)
}
