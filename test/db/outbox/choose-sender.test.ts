import { beforeEach, describe, expect, test } from 'vitest'
import type { OutboundRequest } from '../../../src/core/outbound.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import type { SenderRules } from '../../../src/db/outbox/choose-sender.ts'
import { createOutboundMessage } from '../../../src/db/outbox/create.ts'
import { reprocessMessages } from '../../../src/db/reprocess/messages.ts'
import { reprocessStatuses } from '../../../src/db/reprocess/statuses.ts'
import { otherChannelPaths, PROVIDERS } from '../../../src/providers/index.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { outboundOptions, textRequest } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import { dump, PARSER, reprocessOptions, storeJobs, twilioJobs } from '../../support/reprocessing.ts'
import { type TwilioForm, twilioMessage, twilioSid, twilioStatus } from '../../support/twilio-webhooks.ts'

const PERSON = '15551230001'
const SMS_NUMBER = '15550007777'
const WHATSAPP_NUMBER = '15550001234'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const rules: SenderRules = {
  defaultNumbers: { meta: '100', twilio: WHATSAPP_NUMBER },
  otherChannelPaths: otherChannelPaths(PROVIDERS),
}

/** Where a text to the person goes out from, or why it does not. */
async function chosenNumber(
  request: Partial<OutboundRequest> = {},
  more: Partial<SenderRules> = {},
): Promise<unknown> {
  const to = textRequest('Hello', { to: { phone: PERSON }, ...request })
  const outcome = await createOutboundMessage(database.db, to, outboundOptions({ ...rules, ...more }))
  if (outcome.kind !== 'created') return outcome
  const { rows } = await database.pool.query(
    'SELECT c.business_number FROM conversations c JOIN chat_messages m ON m.conversation_id = c.id WHERE m.id = $1',
    [outcome.message_id],
  )
  return rows[0].business_number
}

describe('an SMS', () => {
  const sms = (number: number, form: TwilioForm = {}) =>
    twilioMessage({
      MessageSid: twilioSid(number),
      From: `+${PERSON}`,
      To: `+${SMS_NUMBER}`,
      Body: 'by SMS',
      WaId: undefined,
      ...form,
    })
  const smsStatus = () =>
    twilioStatus('delivered', {
      MessageSid: twilioSid(9),
      From: `+${SMS_NUMBER}`,
      To: `+${PERSON}`,
      ChannelPrefix: undefined,
    })
  /** As earlier versions stored it. */
  const storeAsMessage = (number: number, payload: unknown = sms(number)) =>
    writeBatch(database.db, [
      messageItem(
        twilioSid(number),
        { provider: 'twilio', business_number: SMS_NUMBER, contact: { phone: PERSON } },
        { provider: 'twilio', payload: JSON.stringify(payload) },
      ),
    ])

  test('and its statuses are kept as events, and the person is answered from the WhatsApp number', async () => {
    await storeJobs(database, twilioJobs(twilioMessage({ MessageSid: twilioSid(1) })))
    await storeJobs(database, [...twilioJobs(sms(2)), ...twilioJobs(smsStatus())])

    expect(await chosenNumber()).toBe(WHATSAPP_NUMBER)
    const { rows } = await database.pool.query(
      `SELECT kind, field, payload FROM webhook_events ORDER BY payload ->> 'Body'`,
    )
    expect(rows).toEqual([
      { kind: 'other', field: 'other_channel', payload: JSON.parse(JSON.stringify(sms(2))) },
      { kind: 'other', field: 'other_channel', payload: JSON.parse(JSON.stringify(smsStatus())) },
    ])
    expect(await dump(database, 'message_statuses')).toEqual([])
  })

  test.each([
    ['a webhook', sms(1)],
    ['an entry of the list', { from: `+${PERSON}`, to: `+${SMS_NUMBER}` }],
  ])('that an earlier version stored as a message makes no sender: %s', async (_, payload) => {
    await storeAsMessage(1, payload)

    expect(await chosenNumber({ provider: 'twilio' })).toBe(WHATSAPP_NUMBER)
  })

  test('does not rule out a number that has WhatsApp, too', async () => {
    await storeAsMessage(1)
    await storeAsMessage(2, twilioMessage({ MessageSid: twilioSid(2), To: `whatsapp:+${SMS_NUMBER}` }))

    expect(await chosenNumber()).toBe(SMS_NUMBER)
  })

  test('does not rule out a number that has sent something that arrived', async () => {
    await storeAsMessage(1)
    const { rows } = await database.pool.query('SELECT conversation_id FROM chat_messages')
    await chosenNumber({ to: undefined, conversation_id: rows[0].conversation_id })
    expect(await chosenNumber({ provider: 'twilio' })).toBe(WHATSAPP_NUMBER)

    await database.pool.query(
      `UPDATE chat_messages SET status = 'delivered' WHERE source = 'api' AND conversation_id = $1`,
      [rows[0].conversation_id],
    )
    await database.pool.query(
      `UPDATE conversations SET last_message_at = CASE WHEN id = $1 THEN now() ELSE '2000-01-01' END`,
      [rows[0].conversation_id],
    )

    expect(await chosenNumber({ provider: 'twilio' })).toBe(SMS_NUMBER)
  })

  test('stays as it was stored when everything is reprocessed', async () => {
    await storeAsMessage(1)
    await writeBatch(database.db, [statusItem(twilioSid(9), 'delivered', { provider: 'twilio' })])
    await database.pool.query('UPDATE message_statuses SET payload = $1', [JSON.stringify(smsStatus())])
    const before = await dump(database, 'chat_messages', 'message_statuses', 'conversations', 'contacts')

    const messages = await reprocessMessages(database.db, PARSER, reprocessOptions())
    const statuses = await reprocessStatuses(database.db, PARSER, reprocessOptions())

    expect([messages, statuses]).toEqual([
      { examined: 1, changed: 0, left: 1 },
      { examined: 1, changed: 0, left: 1 },
    ])
    expect(await dump(database, 'chat_messages', 'message_statuses', 'conversations', 'contacts')).toEqual(
      before,
    )
  })
})

describe('a provider without credentials', () => {
  const heardFrom = (provider: string) =>
    writeBatch(database.db, [
      messageItem('wamid.IN', { provider, business_number: '200', contact: { phone: PERSON } }),
    ])

  test('is not chosen, although the person wrote there last', async () => {
    await heardFrom('twilio')

    expect(await chosenNumber({}, { configuredProviders: ['meta', 'twilio'] })).toBe('200')
    expect(await chosenNumber({}, { configuredProviders: ['meta'] })).toBe('100')
  })

  test('is not chosen to begin a conversation', async () => {
    expect(await chosenNumber({}, { configuredProviders: ['twilio'] })).toBe(WHATSAPP_NUMBER)
  })

  test('is named when no other one would fit', async () => {
    const refused = { kind: 'refused', reason: 'provider_not_configured' }
    expect(await chosenNumber({}, { configuredProviders: [] })).toEqual({ ...refused, provider: 'meta' })
    await heardFrom('twilio')
    const onlyMeta = { configuredProviders: ['meta'], defaultNumbers: {} }
    expect(await chosenNumber({}, onlyMeta)).toEqual({ ...refused, provider: 'twilio' })
  })

  test('is used where the request names it', async () => {
    await heardFrom('twilio')

    expect(await chosenNumber({ provider: 'twilio' }, { configuredProviders: ['meta'] })).toBe('200')
  })
})
