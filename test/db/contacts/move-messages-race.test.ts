/** Moving the messages of merged conversations beside other merges, in processes that are killed. */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createDatabase, createPool } from '../../../src/db/connect.ts'
import { moveMergedMessages } from '../../../src/db/contacts/move-messages.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { eventually } from '../../support/eventually.ts'
import { messageItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

/** More than a merge moves in its own transaction. */
const MANY = 700
const ROUNDS = 3
const KILLS = 4
const MERGES = 2

test('merges in chains, movers that are killed and new messages end in one conversation with every message', async () => {
  const database = await createTestDatabase()
  const movers = [openMover(database), openMover(database)]

  for (let round = 0; round < ROUNDS; round += 1) {
    const person = personOf(round)
    const origins = await writeMany(database, person)
    let isEnding = false
    const moving = movers.map(async (db) => {
      while (!isEnding) {
        await moveMergedMessages(db).catch(expectKilled)
        await delay(5)
      }
    })
    const killing = killMovers(database)
    const arrivals = Promise.all(
      person.forms.map((contact, form) =>
        writeBatch(database.db, [item(`${person.id}.new.${form}`, contact)]),
      ),
    )

    await Promise.all([merge(database, person, 0, 1), merge(database, person, 1, 2), arrivals])
    await killing
    await eventually(async () => expect(await countMoving(database)).toBe(0))
    isEnding = true
    await Promise.all(moving)

    await expectOneConversation(database, person, origins)
  }
})

test('ends without the merge lock, which others wait for, when no message is left', async () => {
  const { database } = await mergedWithoutMessages()
  const client = await database.pool.connect()
  await client.query('BEGIN')
  // As in merge-lock.ts.
  await client.query(`SELECT pg_advisory_xact_lock(x'77612d63'::integer, 1)`)

  expect(await moveMergedMessages(database.db)).toBe(0)

  expect(await countMoving(database)).toBe(0)
  await client.query('ROLLBACK')
  client.release()
})

test('goes on with a conversation that was separated and merged again while its last move ended', async () => {
  const { database, loser } = await mergedWithoutMessages()
  const client = await database.pool.connect()
  await client.query('BEGIN')
  await client.query('SELECT FROM conversations WHERE id = $1 FOR UPDATE', [loser])

  const moving = moveMergedMessages(database.db)
  await eventually(async () => expect(await countWaiting(database)).toBe(1))
  await client.query(
    `INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type)
     VALUES ($1, 'inbound', 'meta', 'wamid.LATE', 'webhook', 14, 'text')`,
    [loser],
  )
  await client.query('UPDATE conversations SET moving_since = clock_timestamp() WHERE id = $1', [loser])
  await client.query('COMMIT')
  client.release()
  await moving

  expect(await countMoving(database)).toBe(1)
  expect(await moveMergedMessages(database.db)).toBe(1)
  expect(await countMoving(database)).toBe(0)
})

test('moves messages whose ids are below 0, and none of the next conversation', async () => {
  const { database, loser } = await mergedWithoutMessages()
  await writeBatch(database.db, [item('wamid.NEXT', { phone: '15550009998' })])
  await database.pool.query(
    `INSERT INTO chat_messages (id, conversation_id, direction, provider, wa_message_id, source, detail, message_type)
     VALUES (-5, $1, 'inbound', 'meta', 'wamid.OLD', 'webhook', 14, 'text')`,
    [loser],
  )
  await database.pool.query(`UPDATE chat_messages SET id = -4 WHERE wa_message_id = 'wamid.NEXT'`)

  expect(await moveMergedMessages(database.db)).toBe(1)

  expect(await countMoving(database)).toBe(0)
})

type Person = { id: string; forms: Record<string, string>[] }

/** Three ways to name one person, which nothing has linked yet. */
const personOf = (round: number): Person => ({
  id: `wamid.${round}`,
  forms: [
    { phone: `1555000111${round}` },
    { user_id: `US.222${round}` },
    { parent_user_id: `US.ENT.${round}` },
  ],
})

const item = (id: string, contact: object) => messageItem(id, { contact })

/** The conversation of each form, with many messages. */
async function writeMany({ db, pool }: TestDatabase, { id, forms }: Person): Promise<string[]> {
  const origins: string[] = []
  for (const [form, contact] of forms.entries()) {
    await writeBatch(db, [item(`${id}.${form}`, contact)])
    const { rows } = await pool.query(
      `INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type, sent_at)
       SELECT conversation_id, direction, provider, wa_message_id || '.' || n, source, detail, message_type, now()
       FROM chat_messages, generate_series(1, $2::integer) n WHERE wa_message_id = $1 RETURNING conversation_id`,
      [`${id}.${form}`, MANY],
    )
    origins.push(rows[0].conversation_id)
  }
  return origins
}

/** A message that names the person in both ways. */
async function merge({ db }: TestDatabase, { id, forms }: Person, one: number, other: number): Promise<void> {
  await writeBatch(db, [item(`${id}.new.both.${one}`, { ...forms[one], ...forms[other] })])
}

/** A pool of its own, as another process has. */
function openMover({ url }: TestDatabase) {
  const db = createDatabase(createPool({ url, applicationName: 'mover', max: 2 }))
  cleanUp(() => db.destroy())
  return db
}

/** Ends sessions that move, each in the middle of something or between two statements. */
async function killMovers({ pool }: TestDatabase): Promise<void> {
  for (let kills = 0; kills < KILLS; kills += 1) {
    await eventually(async () => {
      const { rowCount } = await pool.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'mover' AND datname = current_database()`,
      )
      expect(rowCount).toBeGreaterThan(0)
    })
  }
}

/** PostgreSQL's word for a session that was ended, or the driver's for its connection. */
function expectKilled(err: unknown): void {
  expect(String(err)).toMatch(/connection|ECONNRESET|EPIPE/i)
}

async function countMoving({ pool }: TestDatabase): Promise<number> {
  const { rowCount } = await pool.query('SELECT FROM conversations WHERE moving_since IS NOT NULL')
  return rowCount ?? 0
}

async function countWaiting({ pool }: TestDatabase): Promise<number> {
  const { rowCount } = await pool.query(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  )
  return rowCount ?? 0
}

async function expectOneConversation(
  { pool }: TestDatabase,
  { id, forms }: Person,
  origins: readonly string[],
): Promise<void> {
  const { rows } = await pool.query(
    `SELECT split_part(wa_message_id, '.', 3) AS form, m.conversation_id AS kept, v.merged_into,
       coalesce(m.original_conversation_id, m.conversation_id) AS origin, count(*)::integer AS count
     FROM chat_messages m JOIN conversations v ON v.id = m.conversation_id
     WHERE wa_message_id LIKE $1 GROUP BY 1, 2, 3, 4 ORDER BY 1`,
    [`${id}.%`],
  )
  const kept = rows[0]?.kept
  const old = rows.filter(({ form }) => form !== 'new')
  expect(old).toEqual(
    origins.map((origin, form) => ({ form: String(form), kept, merged_into: null, origin, count: MANY + 1 })),
  )
  const arrived = rows.filter(({ form }) => form === 'new')
  expect(arrived.reduce((sum, { count }) => sum + count, 0)).toBe(forms.length + MERGES)
  for (const row of arrived) expect(row).toMatchObject({ kept, merged_into: null })
}

/** A merge whose messages have all moved, but which was not ended. */
async function mergedWithoutMessages(): Promise<{ database: TestDatabase; loser: string }> {
  const database = await createTestDatabase()
  await writeBatch(database.db, [item('wamid.A', { phone: '15550001111' })])
  const { rows } = await database.pool.query(
    `WITH contact AS (INSERT INTO contacts (name) VALUES ('Ann') RETURNING id)
     INSERT INTO conversations (provider, business_number, contact_id, merged_into, moving_since)
     SELECT v.provider, v.business_number, contact.id, v.id, now() FROM conversations v, contact RETURNING id`,
  )
  return { database, loser: rows[0].id }
}
