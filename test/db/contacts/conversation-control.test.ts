/** Who has control of a conversation, from what Meta sends in whatever order it arrives. */
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import type { InboundJob } from '../../../src/core/event.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { findConversation, listConversations } from '../../../src/db/views/conversation-list.ts'
import { normalize } from '../../../src/providers/index.ts'
import {
  metaChange,
  metaHandover,
  metaMessage,
  metaSentEcho,
  metaStandby,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import { metaJobs } from '../../support/reprocessing.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})

let count = 0
const nextPhone = () => {
  count += 1
  return `1555${String(1_000_000 + count)}`
}
const START = 1_760_000_000
const timeOf = (second: number) => String(START + second)
const since = (second: number) => new Date((START + second) * 1000).toISOString()

type Change = (from: string, second: number) => unknown
const passed: Change = (from, second) =>
  metaHandover({ sender: { phone_number: from }, timestamp: timeOf(second) })
const taken: Change = (from, second) =>
  metaHandover(
    { type: 'control_taken', sender: { phone_number: from }, timestamp: timeOf(second) },
    { previous_owner_role: 'customer_service' },
  )
const ordinary: Change = (from, second) =>
  metaChange({ messages: [metaMessage({ from, timestamp: timeOf(second) })] })
const observed: Change = (from, second) =>
  metaStandby({ messages: [metaMessage({ from, timestamp: timeOf(second) })] })
const answered: Change = (from, second) =>
  metaStandby({ message_echoes: [metaSentEcho({ to: from }, { timestamp: timeOf(second) })] })

const itemsOf = (changes: unknown[]) =>
  metaJobs(metaWebhook(changes)).map((job: InboundJob) => ({ ...job, fact: normalize(job.event) }))
const write = (...changes: unknown[]) => writeBatch(database.db, itemsOf(changes))
const conversationIdOf = async (phone: string) => {
  const { rows } = await database.pool.query(
    `SELECT v.id FROM conversations v JOIN contacts c ON c.id = v.contact_id
     WHERE c.phone = $1 AND v.merged_into IS NULL`,
    [phone],
  )
  expect(rows).toHaveLength(1)
  return rows[0].id as string
}
const controlOf = async (phone: string) =>
  (await findConversation(database.db, await conversationIdOf(phone)))?.control
const announced = async (phone: string) => {
  const { rows } = await database.pool.query(
    `SELECT kind FROM changes WHERE conversation_id = $1 AND kind = 'conversation.control'`,
    [await conversationIdOf(phone)],
  )
  return rows.length
}

describe('control of a conversation', () => {
  test('is unknown until something is said about it', async () => {
    const from = nextPhone()
    await write(ordinary(from, 1))

    expect(await controlOf(from)).toBeNull()
    expect(await announced(from)).toBe(0)
  })

  test('is this app’s after a handover, and announced', async () => {
    const from = nextPhone()
    await write(observed(from, 1), passed(from, 2))

    expect(await controlOf(from)).toEqual({ holder: 'self', role: 'escalation', since: since(2) })
    expect(await announced(from)).toBe(1)
  })

  test('is another app’s when it takes it, and while its messages are in standby', async () => {
    const [takenFrom, observedFrom, answeredFrom] = [nextPhone(), nextPhone(), nextPhone()]
    await write(taken(takenFrom, 1), observed(observedFrom, 1), answered(answeredFrom, 1))

    expect(await controlOf(takenFrom)).toEqual({ holder: 'other', role: 'escalation', since: since(1) })
    expect(await controlOf(observedFrom)).toEqual({ holder: 'other', role: null, since: since(1) })
    expect(await controlOf(answeredFrom)).toEqual({ holder: 'other', role: null, since: since(1) })
  })

  test('comes back with an ordinary message, without any handover', async () => {
    const from = nextPhone()
    await write(observed(from, 1))
    await write(ordinary(from, 5))

    expect(await controlOf(from)).toEqual({ holder: 'self', role: null, since: since(5) })
    expect(await announced(from)).toBe(2)
  })

  test('keeps the time and the role of the handover while standby confirms it, and announces nothing', async () => {
    const from = nextPhone()
    await write(taken(from, 1))
    await write(observed(from, 2))
    await write(answered(from, 3))

    expect(await controlOf(from)).toEqual({ holder: 'other', role: 'escalation', since: since(1) })
    expect(await announced(from)).toBe(1)
  })

  test('does not change when the same comes again', async () => {
    const from = nextPhone()
    const handover = passed(from, 2)
    await write(observed(from, 1), handover)
    await write(ordinary(from, 3))
    await write(handover)

    expect(await controlOf(from)).toMatchObject({ holder: 'self', since: since(2) })
    expect(await announced(from)).toBe(1)
  })

  test('of a person who has not written yet is kept for the conversation, which is not listed before', async () => {
    const from = nextPhone()
    await write(passed(from, 1))
    const before = await listConversations(database.db, { limit: 200, search: from })
    await write(ordinary(from, 2))
    const after = await listConversations(database.db, { limit: 200, search: from })

    expect(before.items).toEqual([])
    expect(after.items).toMatchObject([{ control: { holder: 'self', role: 'escalation', since: since(1) } }])
  })

  test('has the same holder in every order of arrival, in any batches', async () => {
    const kinds = [passed, taken, ordinary, observed, answered]
    const sign = fc.record({ kind: fc.nat(kinds.length - 1), second: fc.nat(5) })
    await fc.assert(
      fc.asyncProperty(
        fc
          .array(sign, { minLength: 1, maxLength: 5 })
          .chain((signs) =>
            fc.tuple(fc.constant(signs), fc.shuffledSubarray(signs, { minLength: signs.length })),
          ),
        fc.boolean(),
        async ([signs, shuffled], isOneBatch) => {
          const [inOrder, inAnyOrder] = [nextPhone(), nextPhone()]
          const changes = (list: typeof signs, from: string) =>
            list.map(({ kind, second }) => kinds[kind]?.(from, second))
          for (const change of changes(signs, inOrder)) await write(change)
          if (isOneBatch) await write(...changes(shuffled, inAnyOrder))
          else for (const change of changes(shuffled, inAnyOrder)) await write(change)

          expect((await controlOf(inAnyOrder))?.holder).toBe((await controlOf(inOrder))?.holder)
        },
      ),
      { numRuns: 30 },
    )
  })

  test('ends alike when an ordinary message and one in standby are stored at the same moment', async () => {
    const phones = Array.from({ length: 20 }, nextPhone)
    await Promise.all(phones.flatMap((from) => [write(observed(from, 1)), write(ordinary(from, 2))]))

    const controls = await Promise.all(phones.map(controlOf))
    expect(controls.map((control) => control?.holder)).toEqual(phones.map(() => 'self'))
  })

  test('of two conversations that become one is the newest of both', async () => {
    const [phone, user_id] = [nextPhone(), `US.${nextPhone()}`]
    await write(passed(phone, 5))
    const sender = { from: undefined, from_user_id: user_id }
    await write(metaStandby({ messages: [metaMessage({ ...sender, timestamp: timeOf(1) })] }))
    await write(
      metaChange({ messages: [metaMessage({ from: phone, from_user_id: user_id, timestamp: timeOf(0) })] }),
    )

    expect(await controlOf(phone)).toMatchObject({ holder: 'self', since: since(5) })
  })
})

test('one id under `messages` and in standby is one message, whichever comes first', async () => {
  for (const isStandbyFirst of [true, false]) {
    const from = nextPhone()
    const message = metaMessage({ from })
    const changes = [metaStandby({ messages: [message] }), metaChange({ messages: [message] })]
    const outcomes = []
    for (const change of isStandbyFirst ? changes : changes.reverse()) outcomes.push(...(await write(change)))

    const { rows } = await database.pool.query('SELECT source FROM chat_messages WHERE wa_message_id = $1', [
      message.id,
    ])
    expect(rows).toEqual([{ source: 'webhook' }])
    expect(outcomes).toEqual(['stored', isStandbyFirst ? 'merged' : 'duplicate'])
  }
})
