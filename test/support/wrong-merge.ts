/**
 * Ann and Bob, whom a recycled number has made one contact: each wrote to one number of ours, known in a portfolio of their
 * own, and then Bob wrote from Ann's old number.
 */
import type { MessageFact } from '../../src/core/fact.ts'
import { createEventStore } from '../../src/db/ingest/event-store.ts'
import { messageItem, RECEIVED_AT } from './facts.ts'
import type { TestDatabase } from './postgres.ts'

export const ANN = { phone: '15550001111', user_id: 'US.1111', name: 'Ann' }
export const BOB = { phone: '15550002222', user_id: 'US.2222', name: 'Bob' }
const DAY = 24 * 60 * 60_000

/** Stores a message as a webhook brings it. `hasUserId`: its payload names the user id. */
export async function say(
  database: TestDatabase,
  id: string,
  contact: MessageFact['contact'],
  { day = 0, account = 'waba-ann' } = {},
): Promise<void> {
  const { phone, user_id } = contact
  const sent_at = new Date(RECEIVED_AT + day * DAY)
  const payload = {
    id,
    from: phone,
    from_user_id: user_id,
    timestamp: '1780315200',
    type: 'text',
    text: { body: id },
  }
  const item = messageItem(
    id,
    { contact, account, sent_at, content: id },
    { payload: JSON.stringify(payload) },
  )
  const { outcome } = await createEventStore({ db: database.db }).store(item)
  if (outcome !== 'stored') throw new Error(`${id} ended as ${outcome}`)
}

export const fromBob = { account: 'waba-bob' }

/** The merge in error: afterwards both are one contact with one conversation. */
export async function mergeInError(database: TestDatabase): Promise<void> {
  await say(database, 'wamid.ann1', ANN)
  await say(database, 'wamid.bob1', BOB, { ...fromBob, day: 1 })
  await say(database, 'wamid.bob2', BOB, { ...fromBob, day: 2 })
  await say(database, 'wamid.both', { ...BOB, phone: ANN.phone }, { ...fromBob, day: 100 })
}

/** Which messages the contact of each name has, in the order of their ids. */
export async function messagesByName({ pool }: TestDatabase): Promise<Record<string, string[]>> {
  const { rows } = await pool.query(`
    SELECT c.name, array_agg(m.content ORDER BY m.id) AS contents
    FROM chat_messages m
    JOIN conversations o ON o.id = m.conversation_id JOIN conversations v ON v.id = coalesce(o.merged_into, o.id)
    JOIN contacts c ON c.id = v.contact_id GROUP BY c.id ORDER BY c.id`)
  return Object.fromEntries(rows.map(({ name, contents }) => [name, contents]))
}
