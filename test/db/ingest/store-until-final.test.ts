import { beforeAll, expect, test } from 'vitest'
import { createDatabase, createPool } from '../../../src/db/connect.ts'
import { createEventStore, type EventStore } from '../../../src/db/ingest/event-store.ts'
import { storeUntilFinal } from '../../../src/db/ingest/store-until-final.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { messageItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
let store: EventStore

beforeAll(async () => {
  database = await createTestDatabase()
  await database.pool.query(`
    CREATE SEQUENCE tries;
    CREATE FUNCTION users_rule() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.content = 'never' THEN RAISE 'never'; END IF;
      IF NEW.content = 'slow' THEN PERFORM pg_sleep(5); END IF;
      IF NEW.content = 'later' AND nextval('tries') <= 3 THEN RAISE 'not yet'; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER users_rule BEFORE INSERT ON chat_messages FOR EACH ROW EXECUTE FUNCTION users_rule()`)
  // Twenty times as fast: a refused item is parked after five seconds of this clock.
  store = createEventStore({ db: database.db, now: () => performance.now() * 20 })
})

let count = 0
const item = (content: string) => {
  count += 1
  return messageItem(`wamid.${count}`, { content })
}
/** In one batch with another message, which shows that the database stores. */
const storeBeside = async (content: string) => {
  const [outcome] = await Promise.all([storeUntilFinal(store, item(content)), store.store(item('good'))])
  return outcome
}

test('an item that is taken has its outcome at once', async () => {
  const good = item('good')

  expect([await storeUntilFinal(store, good), await storeUntilFinal(store, good)]).toEqual([
    'stored',
    'duplicate',
  ])
})

test('an item that is refused alone is tried again until it is stored', async () => {
  expect(await storeBeside('later')).toBe('stored')
})

test('an item that is always refused is parked in the end', async () => {
  expect(await storeBeside('never')).toBe('parked')
})

test('an error that says nothing of the item is thrown at once', async () => {
  const nowhere = createDatabase(
    createPool({
      url: 'postgres://nobody@127.0.0.1:1/nothing',
      applicationName: 'test',
      connectTimeoutMs: 500,
    }),
  )
  cleanUp(() => nowhere.destroy())

  await expect(storeUntilFinal(createEventStore({ db: nowhere }), item('good'))).rejects.toMatchObject({
    code: 'ECONNREFUSED',
  })
  await expect(storeUntilFinal(createEventStore({ db: database.db }), item('never'))).rejects.toThrow('never')
})

test('a time-out is thrown too, also of one item among others that are stored', async () => {
  const pool = createPool({ url: database.url, applicationName: 'test', statementTimeoutMs: 250 })
  const db = createDatabase(pool)
  cleanUp(() => db.destroy())
  const slow = createEventStore({ db })

  await Promise.all([
    expect(slow.store(item('good'))).resolves.toEqual({ outcome: 'stored' }),
    expect(storeUntilFinal(slow, item('slow'))).rejects.toMatchObject({ code: '57014' }),
  ])
})
