/** Every writer locks in one order, so that they wait for each other and never in a circle. */
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { expect, test } from 'vitest'
import type { WebhookEvent } from '../../src/core/event.ts'
import type { MessageFact } from '../../src/core/fact.ts'
import { moveMergedMessages } from '../../src/db/contacts/move-messages.ts'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { identifyMessage } from '../../src/db/ingest/merge-messages.ts'
import type { StoreItem } from '../../src/db/ingest/store-item.ts'
import { claimNext } from '../../src/db/outbox/claim.ts'
import { markAsRead } from '../../src/db/outbox/mark-read.ts'
import { recordSendResult } from '../../src/db/outbox/record-result.ts'
import { createResend } from '../../src/db/outbox/resend.ts'
import { retryConflicts } from '../../src/db/retry-conflicts.ts'
import type { Database } from '../../src/db/schema.ts'
import { cleanUp } from '../support/clean-up.ts'
import { messageItem, statusItem } from '../support/facts.ts'
import { holdLock } from '../support/held-lock.ts'
import { META_PHONE_NUMBER_ID } from '../support/meta-webhooks.ts'
import { orderText, outboundOptions } from '../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'

const ANN = { phone: '15550001111' }
const echo = (id: string, fact: Partial<MessageFact> = {}, event: Partial<WebhookEvent> = {}) =>
  messageItem(
    id,
    {
      source: 'echo',
      direction: 'outbound',
      business_number: META_PHONE_NUMBER_ID,
      contact: ANN,
      status: 'sent',
      ...fact,
    },
    event,
  )

/** Connections on which PostgreSQL breaks a deadlock soon, and the deadlocks that it broke: callers run again after one. */
function watchDeadlocks({ url }: TestDatabase): { db: Kysely<Database>; deadlocks: string[] } {
  const deadlocks: string[] = []
  const pool = new pg.Pool({ connectionString: url, max: 40, options: '-c deadlock_timeout=20ms' })
  pool.on('error', () => {})
  const db = new Kysely<Database>({
    dialect: new PostgresDialect({ pool }),
    log: (event) => {
      if (event.level !== 'error') return
      const { code, detail } = event.error as { code?: string; detail?: string }
      if (code === '40P01') deadlocks.push(`${event.query.sql.trim().slice(0, 60)} … ${detail}`)
    },
  })
  cleanUp(() => db.destroy())
  return { db, deadlocks }
}

async function isLocked({ pool }: TestDatabase, id: string): Promise<boolean> {
  const { rows } = await pool.query('SELECT FROM chat_messages WHERE id = $1 FOR UPDATE SKIP LOCKED', [id])
  return rows.length === 0
}

const UNSENDABLE = '{"type": "image", "media": {"upload_id": "00000000-0000-4000-8000-000000000000"}}'

test.each([
  ['can be sent', null],
  ['cannot be sent', UNSENDABLE],
])(
  'a claim, a batch with the echo of the claimed message, and its identification wait in line: it %s',
  async (_, content) => {
    const database = await createTestDatabase()
    const { db, deadlocks } = watchDeadlocks(database)
    const message_id = await orderText(db, 'Hello', { to: ANN })
    if (content !== null)
      await database.pool.query(`UPDATE chat_messages SET request = jsonb_set(request, '{content}', $1)`, [
        content,
      ])
    const lock = await holdLock(database, 'SELECT FROM conversations FOR UPDATE')

    const claim = claimNext(db, message_id)
    await lock.reached()
    const batch = writeBatch(db, [echo('wamid.A', { sent_at: new Date() }, { received_at: Date.now() })])
    await lock.reached(2)
    const identified = identifyMessage(db, { message_id, wa_message_id: 'wamid.A' })
    await Promise.race([identified, lock.reached(3)])
    await lock.release()
    await Promise.all([claim, batch, identified])

    expect(deadlocks).toEqual([])
    const { rows } = await database.pool.query('SELECT wa_message_id FROM chat_messages')
    expect(rows).toEqual([{ wa_message_id: 'wamid.A' }])
  },
)

test('a resend locks the conversation before the message that it repeats', async () => {
  const database = await createTestDatabase()
  const id = await orderText(database.db, 'Hello', { to: ANN })
  await database.pool.query(`UPDATE chat_messages SET status = 'failed'`)
  const lock = await holdLock(database, 'SELECT FROM conversations FOR UPDATE')

  const resend = createResend(database.db, id, outboundOptions())
  await lock.reached()

  expect(await isLocked(database, id)).toBe(false)
  await lock.release()
  expect(await resend).toMatchObject({ kind: 'created' })
})

test('identifying a message locks rows in the order of wa_message_id', async () => {
  const database = await createTestDatabase()
  const id = await orderText(database.db, 'Hello', { to: ANN })
  await identifyMessage(database.db, { message_id: id, wa_message_id: 'wamid.B' })
  await writeBatch(database.db, [echo('wamid.A')])
  const lock = await holdLock(
    database,
    `SELECT FROM chat_messages WHERE wa_message_id = 'wamid.A' FOR UPDATE`,
  )

  const identified = identifyMessage(database.db, { message_id: id, wa_message_id: 'wamid.A' })
  await lock.reached()

  expect(await isLocked(database, id)).toBe(false)
  await lock.release()
  expect(await identified).toBe('other')
})

const PEOPLE = 4
const SENDS = 12
const IDS = 24

test('PostgreSQL breaks no deadlock among writers of every kind that meet at the same rows', async () => {
  const database = await createTestDatabase()
  const { db, deadlocks } = watchDeadlocks(database)

  for (const round of [1, 2]) await runRound(db, round)

  expect(deadlocks).toEqual([])
  const { rows } = await database.pool.query(
    'SELECT wa_message_id FROM chat_messages WHERE wa_message_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1',
  )
  expect(rows).toEqual([])
})

async function runRound(db: Kysely<Database>, round: number): Promise<void> {
  const ids = Array.from({ length: IDS }, (_, i) => `wamid.${round}.${i}`)
  const people = Array.from({ length: PEOPLE }, (_, i) => ({
    phone: `1555${round}00${i}`,
    user_id: `US.${round}.${i}`,
  }))
  const sends: Send[] = []
  for (const [i, wa_message_id] of ids.slice(0, SENDS).entries()) {
    const { phone = '' } = people[i % PEOPLE] ?? {}
    const id = await orderText(db, `${i}`, { to: { phone } })
    const row = await db
      .selectFrom('chat_messages')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    sends.push({ id, wa_message_id, phone, callback_id: row.callback_id ?? '' })
  }
  const conversations = await db.selectFrom('conversations').select('id').execute()
  const writers = Array.from({ length: 18 }, (_, n) => batchOf(n, ids, people, sends))
  await Promise.all([
    ...writers.map((items) => retryConflicts(() => writeBatch(db, items))),
    ...sends.map((one) => send(db, one)),
    ...sends.map(({ id, wa_message_id }) => identifyMessage(db, { message_id: id, wa_message_id })),
    ...sends.map(({ id }) => createResend(db, id, outboundOptions())),
    ...people.map(({ phone }) => orderText(db, 'one more', { to: { phone } })),
    ...conversations.map(({ id }) => markAsRead(db, { conversationId: id, receiptProviders: ['meta'] })),
    moveMergedMessages(db),
  ])
}

type Send = { id: string; wa_message_id: string; phone: string; callback_id: string }
type Person = { phone: string; user_id: string }

async function send(db: Kysely<Database>, { id, wa_message_id }: Send): Promise<void> {
  const outcome = await claimNext(db, id)
  if (outcome.kind !== 'claimed') return
  await recordSendResult(db, outcome.claim, { kind: 'accepted', wa_message_id }, 'digest')
}

/** Echoes or statuses of the sends, and one source's copy of the other messages; in another order for each writer. */
function batchOf(
  n: number,
  ids: readonly string[],
  people: readonly Person[],
  sends: readonly Send[],
): StoreItem[] {
  const business_number = META_PHONE_NUMBER_ID
  const ofSends = sends.map(({ wa_message_id, phone, callback_id }) =>
    n % 3 === 1
      ? statusItem(wa_message_id, 'delivered', { business_number, callback_id })
      : echo(wa_message_id, { contact: { phone }, callback_id }),
  )
  const others = ids.slice(SENDS).map((id, i) => {
    const { phone, user_id } = people[i % PEOPLE] as Person
    const { contact = { phone }, ...copy } = copyOf(n, { phone, user_id })
    return messageItem(id, { business_number, contact, sent_at: new Date(i), ...copy })
  })
  const items = [...ofSends, ...others]
  const ordered = n % 2 === 0 ? items : items.toReversed()
  return n % 6 === 1 ? ordered : [...ordered.slice(n), ...ordered.slice(0, n)].slice(0, 16)
}

/** The fourth merges the contacts that the others know by phone and by user id. */
function copyOf(n: number, { phone, user_id }: Person): Partial<MessageFact> {
  const copies: Partial<MessageFact>[] = [
    {},
    { source: 'backfill' },
    { source: 'history', contact: { user_id } },
    { contact: { phone, user_id } },
    { source: 'history', is_placeholder: true },
    { source: 'standby' },
  ]
  return copies[n % copies.length] ?? {}
}
