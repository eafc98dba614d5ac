/** Who has control of a conversation that another app held, after a message was sent from here. */
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { BACKENDS } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { messageItem } from '../support/facts.ts'
import { metaError } from '../support/fake-meta.ts'
import { META_CUSTOMER_PHONE, META_PHONE_NUMBER_ID } from '../support/meta-webhooks.ts'
import { orderText } from '../support/outbound.ts'
import { type Sending, startSending } from '../support/sending.ts'

const MINUTE = 60_000

let sending: Sending

beforeAll(async () => {
  sending = await startSending(BACKENDS[0])
})
beforeEach(async () => {
  await sending.reset()
  await receiveInStandby('wamid.A', Date.now() - MINUTE)
})

const receiveInStandby = (id: string, at: number) =>
  writeBatch(sending.db, [
    messageItem(id, {
      source: 'standby',
      sent_at: new Date(at),
      contact: { phone: META_CUSTOMER_PHONE },
      business_number: META_PHONE_NUMBER_ID,
    }),
  ])
const holder = async () =>
  (await sending.db.selectFrom('conversations').select('control_holder').executeTakeFirstOrThrow())
    .control_holder
const send = async (request: Parameters<typeof orderText>[2] = {}) => {
  expect(await holder()).toBe('other')
  sending.startWorker()
  const id = await orderText(sending.db, 'Hello', request)
  await sending.producer.notifySends([id])
  return id
}

test('a message that Meta accepted takes control, and the feed says so', async () => {
  await send()

  await eventually(async () => expect(await holder()).toBe('self'))
  const changes = await sending.db.selectFrom('changes').select('kind').orderBy('id').execute()
  expect(changes.filter(({ kind }) => kind === 'conversation.control')).toHaveLength(2)
})

test('a template takes no control', async () => {
  const id = await send({ type: 'template', template: { name: 'hello', language: 'en' } })

  await sending.hasStatus(id, 'accepted')
  expect(await holder()).toBe('other')
})

test('a message that Meta refused takes no control', async () => {
  sending.meta.next(metaError(131_047))
  const id = await send()

  await sending.hasStatus(id, 'failed')
  expect(await holder()).toBe('other')
})
