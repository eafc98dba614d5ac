import { beforeEach, describe, expect, test } from 'vitest'
import type { OutboundRequest } from '../../../src/core/outbound.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { createOutboundMessage, type OutboundOptions } from '../../../src/db/outbox/create.ts'
import { BUSINESS_NUMBER, messageItem } from '../../support/facts.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText, outboundOptions, TWILIO_BUSINESS_PHONE, textRequest } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const create = (request: OutboundRequest, options: Partial<OutboundOptions> = {}) =>
  createOutboundMessage(database.db, request, outboundOptions(options))
const messages = () => database.db.selectFrom('chat_messages').selectAll().orderBy('id').execute()
const conversations = () => database.db.selectFrom('conversations').selectAll().orderBy('id').execute()

describe('an outbound message', () => {
  test('is a queued row before it is sent, and is in the list and in `changes` at once', async () => {
    const outcome = await create(textRequest('Hello \u0000 there'), {
      idempotencyKey: 'key-1',
      requestHash: 'h',
    })

    const [row] = await messages()
    expect(outcome).toEqual({ kind: 'created', message_id: row?.id })
    expect(row).toMatchObject({
      direction: 'outbound',
      provider: 'meta',
      source: 'api',
      status: 'queued',
      client_message_id: 'key-1',
      request_hash: 'h',
      wa_message_id: null,
      message_type: 'text',
      content: 'Hello \uFFFD there',
      request: { content: { type: 'text', text: 'Hello \uFFFD there' }, to: { phone: '15551230001' } },
    })
    expect(row?.callback_id).toMatch(/^[0-9a-f-]{36}$/)
    expect(await conversations()).toMatchObject([
      { id: row?.conversation_id, business_number: META_PHONE_NUMBER_ID, last_message_at: row?.created_at },
    ])
    const changes = await database.db.selectFrom('changes').select(['kind', 'message_id']).execute()
    expect(changes).toEqual([{ kind: 'message.created', message_id: row?.id }])
  })

  test.each([
    ['x'.repeat(11), 'refused'],
    ['x'.repeat(10), 'created'],
    ['😀'.repeat(10), 'created'],
    [`${'😀'.repeat(10)}x`, 'refused'],
  ])('%j is %s by a provider that takes ten characters', async (text, kind) => {
    const maxTextLengths = { meta: 10 }

    expect(await create(textRequest(text), { maxTextLengths })).toMatchObject(
      kind === 'refused' ? { kind, reason: 'text_too_long' } : { kind },
    )
    expect(await create(textRequest(text), { maxTextLengths: { twilio: 10 } })).toMatchObject({
      kind: 'created',
    })
    expect(await messages()).toHaveLength(kind === 'refused' ? 1 : 2)
  })

  test('is one row when the same request comes 50 times at the same time', async () => {
    const options = outboundOptions({ idempotencyKey: 'key-1' })

    const outcomes = await Promise.all(
      Array.from({ length: 50 }, () => createOutboundMessage(database.db, textRequest(), options)),
    )

    const rows = await messages()
    expect(rows).toHaveLength(1)
    expect(outcomes.filter(({ kind }) => kind === 'created')).toHaveLength(1)
    expect(outcomes.filter(({ kind }) => kind === 'existing')).toHaveLength(49)
    expect(new Set(outcomes.map((outcome) => 'message_id' in outcome && outcome.message_id))).toEqual(
      new Set([rows[0]?.id]),
    )
  })

  test('is a conflict under the key of another request, whose row stays as it is', async () => {
    const id = await orderText(database.db, 'first', {}, { idempotencyKey: 'key-1', requestHash: 'a' })

    const outcome = await create(textRequest('second'), { idempotencyKey: 'key-1', requestHash: 'b' })

    expect(outcome).toEqual({ kind: 'conflict', message_id: id })
    expect((await messages()).map((row) => row.content)).toEqual(['first'])
  })

  test('to a contact who wrote before goes out from the number that they wrote to', async () => {
    await writeBatch(database.db, [messageItem('wamid.IN', { contact: { phone: '15551230001' } })])

    await create(textRequest('reply'))

    expect((await conversations()).map((row) => row.business_number)).toEqual([BUSINESS_NUMBER])
    expect(new Set((await messages()).map((row) => row.conversation_id)).size).toBe(1)
  })

  test('to an unknown contact goes out from the configured number of the provider', async () => {
    await create(textRequest('a', { to: { phone: '15551230002' } }))
    await create(textRequest('b', { to: { phone: '15551230003' }, provider: 'twilio' }))
    await create(textRequest('c', { to: { user_id: 'US.1349' } }), {
      defaultNumbers: { twilio: '15550001111' },
    })

    expect((await conversations()).map((row) => [row.provider, row.business_number])).toEqual([
      ['meta', META_PHONE_NUMBER_ID],
      ['twilio', TWILIO_BUSINESS_PHONE],
      ['twilio', '15550001111'],
    ])
  })

  test('answers and reacts to messages of its own conversation', async () => {
    await writeBatch(database.db, [messageItem('wamid.IN')])
    const [inbound] = await messages()
    const conversation_id = inbound?.conversation_id
    const id = String(inbound?.id)

    await create(textRequest('yes', { conversation_id, reply_to_message_id: id }))
    await create({ type: 'reaction', reaction: { message_id: id, emoji: '👍' }, conversation_id })

    const [, reply, reaction] = await messages()
    expect(reply?.reply_to_wa_message_id).toBe('wamid.IN')
    expect(reaction).toMatchObject({
      target_wa_message_id: 'wamid.IN',
      content: '👍',
      message_type: 'reaction',
    })
  })

  test.each<[string, Partial<OutboundRequest>, Partial<OutboundOptions>]>([
    ['conversation_not_found', { conversation_id: '999' }, {}],
    ['conversation_not_found', { conversation_id: 'x' }, {}],
    ['recipient_invalid', { to: { phone: 'nobody' } }, {}],
    ['recipient_invalid', { to: {} }, {}],
    ['no_sender', {}, { defaultNumbers: {} }],
    ['no_sender', { provider: 'twilio' }, { defaultNumbers: { meta: '1' } }],
    ['reply_not_found', { reply_to_message_id: '999' }, {}],
    ['reaction_target_not_found', { type: 'reaction', reaction: { message_id: '999', emoji: '👍' } }, {}],
  ])('is refused as %s: %j', async (reason, request, options) => {
    expect(await create(textRequest('Hello', request), options)).toEqual({ kind: 'refused', reason })
    expect(await messages()).toEqual([])
  })
})
