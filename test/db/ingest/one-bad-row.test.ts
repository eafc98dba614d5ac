/** One row that PostgreSQL refuses holds up no other, whatever the error is; when it is the only one, it is parked. */
import { beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, createPool } from '../../../src/db/connect.ts'
import { createEventStore, type EventStore } from '../../../src/db/ingest/event-store.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { reprocessParkedEvents } from '../../../src/db/reprocess/events.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { metaMessage, metaMessagesWebhook } from '../../support/meta-webhooks.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import { metaJobs, PARSER, reprocessOptions } from '../../support/reprocessing.ts'

const SECOND = 1_000

let database: TestDatabase
let store: EventStore
let clock: { now: number }

beforeEach(async () => {
  database = await createTestDatabase()
  clock = { now: 0 }
  store = createEventStore({ db: database.db, now: () => clock.now++ })
})

/** A trigger of the user's own that runs `action` for each message with this condition, and counts how often it runs. */
async function whenInserted(condition: string, action: string, { when = 'BEFORE' } = {}): Promise<void> {
  await database.pool.query(`
    CREATE SEQUENCE tries;
    CREATE FUNCTION users_rule() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF ${condition} THEN PERFORM nextval('tries'); ${action}; END IF;
      RETURN NEW;
    END $$;
    ${when === 'COMMIT' ? 'CREATE CONSTRAINT TRIGGER users_rule AFTER' : `CREATE TRIGGER users_rule ${when}`}
    INSERT ON chat_messages ${when === 'COMMIT' ? 'DEFERRABLE INITIALLY DEFERRED' : ''}
    FOR EACH ROW EXECUTE FUNCTION users_rule()`)
}

const raise = (state: string) => `RAISE EXCEPTION 'secret: %', NEW.content USING ERRCODE = '${state}'`
const IS_BAD = `NEW.content = 'bad'`
const bad = (id = 'wamid.BAD') => messageItem(id, { content: 'bad' })
const good = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => messageItem(`wamid.G${from + index}`))

const storeAll = (items: readonly StoreItem[]) => Promise.all(items.map((item) => store.store(item)))
const outcomesOf = async (items: readonly StoreItem[]) =>
  (await storeAll(items)).map(({ outcome }) => outcome)
const tries = async () => {
  const { rows } = await database.pool.query('SELECT last_value, is_called FROM tries')
  return rows[0].is_called ? Number(rows[0].last_value) : 0
}
const events = async () =>
  (await database.pool.query('SELECT event_key, wa_message_id, reason FROM webhook_events')).rows

/** Offers the item again, with time between, until it is not to be retried. */
async function offerAgain(item: StoreItem, times = 20): Promise<string> {
  for (let count = 0; count < times; count++) {
    clock.now += 2 * SECOND
    const { outcome } = await store.store(item)
    if (outcome !== 'retry') return outcome
  }
  return 'retry'
}

describe('a row that a trigger refuses', () => {
  test.each([
    ['P0001', 'BEFORE'],
    ['42501', 'BEFORE'],
    ['42P01', 'AFTER'],
    ['XX000', 'AFTER'],
    ['40001', 'BEFORE'],
    ['P0001', 'COMMIT'],
  ])(
    'with SQLSTATE %s (%s) is parked with the reason, and the others are stored at once',
    async (state, when) => {
      await whenInserted(IS_BAD, raise(state), { when })

      const results = await storeAll([...good(10), bad(), ...good(10, 10)])

      expect(results.filter(({ outcome }) => outcome === 'stored')).toHaveLength(20)
      expect(results[10]).toMatchObject({ outcome: 'retry', isOnlyThis: true, cause: { code: state } })
      expect(await offerAgain(bad())).toBe('parked')
      expect(await events()).toEqual([
        {
          event_key: bad().job_id,
          wa_message_id: 'wamid.BAD',
          reason: `refused by PostgreSQL: SQLSTATE ${state} in function users_rule`,
        },
      ])
    },
  )

  test('is tried alone afterwards, and only when it is time: it costs the batches that it comes with nothing', async () => {
    await whenInserted(IS_BAD, raise('P0001'))
    await storeAll([...good(20), bad()])
    const before = await tries()

    for (let batch = 1; batch <= 5; batch++) await storeAll([bad(), ...good(20, 20 * batch)])
    expect(await tries()).toBe(before)

    clock.now += SECOND
    expect(
      (await outcomesOf([bad(), ...good(20, 200)])).filter((outcome) => outcome === 'stored'),
    ).toHaveLength(20)
    expect(await tries()).toBe(before + 1)
  })

  test('is parked when another worker stored the rest, soon after this one stores something', async () => {
    await whenInserted(IS_BAD, raise('P0001'))
    expect(await outcomesOf([bad()])).toEqual(['retry'])
    expect(await offerAgain(bad())).toBe('retry')

    await storeAll(good(1))

    clock.now += 10 * SECOND
    expect(await offerAgain(bad(), 3)).toBe('parked')
  })

  test('is one of many: the others are stored at once, also when bad ones stand first', async () => {
    await whenInserted(IS_BAD, raise('P0001'))
    const manyBad = Array.from({ length: 40 }, (_, index) => bad(`wamid.BAD${index}`))

    for (let round = 0; round < 10; round++) await storeAll([...manyBad, ...good(10)])

    const { rows } = await database.pool.query('SELECT count(*)::integer AS count FROM chat_messages')
    expect(rows[0].count).toBe(10)
  })

  test('is found again by reprocess when the trigger is gone, and left parked while it is there', async () => {
    await whenInserted(IS_BAD, raise('P0001'))
    const webhook = metaMessagesWebhook([metaMessage({ text: { body: 'bad' } })])
    const items = metaJobs(webhook).map((job) => ({ ...job, fact: PARSER.normalize(job.event) }))
    await storeAll([...items, ...good(3)])
    expect(await offerAgain(items[0] as StoreItem)).toBe('parked')
    const reprocess = () =>
      reprocessParkedEvents(
        { db: database.db, store: createEventStore({ db: database.db, isCounted: false }), parser: PARSER },
        reprocessOptions(),
      )

    expect(await reprocess()).toMatchObject({ examined: 1, recovered: 0, still_parked: 1 })
    await database.pool.query('DROP TRIGGER users_rule ON chat_messages')
    expect(await reprocess()).toMatchObject({ examined: 1, recovered: 1, still_parked: 0 })

    const { rows } = await database.pool.query(`SELECT content FROM chat_messages WHERE content = 'bad'`)
    expect(rows).toHaveLength(1)
  })
})

test('a foreign key of the user parks only its row, although the contact cache is asked again first', async () => {
  await database.pool.query(`
    CREATE TABLE numbers (id text PRIMARY KEY); INSERT INTO numbers VALUES ('Hello');
    ALTER TABLE chat_messages ADD CONSTRAINT known FOREIGN KEY (content) REFERENCES numbers (id)`)
  await storeAll(good(3))

  const outcomes = await outcomesOf([...good(3, 3), bad()])

  expect(outcomes).toEqual(['stored', 'stored', 'stored', 'parked'])
  expect(await events()).toMatchObject([{ reason: 'refused by PostgreSQL: SQLSTATE 23503 (known)' }])
})

describe('when everything of a kind is refused', () => {
  test('nothing is parked however long it lasts, each is tried once a round, and all is stored afterwards', async () => {
    await whenInserted('true', raise('42703'))
    const items = good(100)
    const statuses = Array.from({ length: 5 }, (_, index) => statusItem(`wamid.G${index}`, 'read'))

    for (let round = 0; round < 5; round++) {
      clock.now += 3_600 * SECOND
      const results = await storeAll([...items, ...statuses])
      for (const result of results.slice(0, 100)) {
        expect(result).toMatchObject({ outcome: 'retry', isOnlyThis: false })
      }
    }
    expect(await tries()).toBeLessThan(5 * (100 + 10))

    clock.now += 10 * SECOND
    await database.pool.query('DROP TRIGGER users_rule ON chat_messages')
    expect(new Set(await outcomesOf(items))).toEqual(new Set(['stored']))
    expect(await events()).toEqual([])
  })
})

describe('a slow database', () => {
  const slowStore = (statementTimeoutMs: number) => {
    const pool = createPool({ url: database.url, applicationName: 'test', statementTimeoutMs })
    const db = createDatabase(pool)
    cleanUp(() => db.destroy())
    store = createEventStore({ db, now: () => clock.now++ })
  }

  test('gets smaller batches, and stores everything without a retry', async () => {
    await whenInserted('true', 'PERFORM pg_sleep(0.01)')
    slowStore(500)

    expect(new Set(await outcomesOf(good(200)))).toEqual(new Set(['stored']))
  })

  test('is too slow for one row: the others are stored, and that one is tried alone', async () => {
    await whenInserted(IS_BAD, 'PERFORM pg_sleep(5)')
    slowStore(250)

    const results = await storeAll([...good(5), bad(), ...good(5, 5)])

    expect(results.filter(({ outcome }) => outcome === 'stored')).toHaveLength(10)
    expect(results[5]).toMatchObject({ outcome: 'retry', isOnlyThis: true, cause: { code: '57014' } })
    expect(await offerAgain(bad(), 4)).toBe('retry')
  })

  test('is too slow for every row: all are put back after few attempts, and nothing is parked', async () => {
    await whenInserted('true', 'PERFORM pg_sleep(5)')
    slowStore(100)

    expect(new Set(await outcomesOf(good(64)))).toEqual(new Set(['retry']))
    expect(await tries()).toBeLessThan(12)
    expect(await events()).toEqual([])
  })
})
