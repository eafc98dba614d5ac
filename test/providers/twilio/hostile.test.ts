/** Bodies that are signed, and try to make two things one, or one thing vanish. */
import { describe, expect, test } from 'vitest'
import { normalizeTwilio } from '../../../src/providers/twilio/normalize.ts'
import { parseTwilioWebhook } from '../../../src/providers/twilio/parse.ts'
import {
  twilioJsonWebhook,
  twilioMessage,
  twilioSid,
  twilioStatus,
  twilioWebhook,
} from '../../support/twilio-webhooks.ts'

const jsonJobs = (text: string) => parseTwilioWebhook(twilioJsonWebhook(Buffer.from(text)))
const statusJob = (status: string) => parseTwilioWebhook(twilioWebhook(twilioStatus(status)))[0]

describe('a JSON body', () => {
  test('with a key twice: the last one is read, and the bytes keep the other', () => {
    const text = `[{"MessageSid":"${twilioSid(1)}","MessageSid":"${twilioSid(2)}","Body":"x","From":"whatsapp:+15551230001"}]`

    const events = jsonJobs(text).map(({ event }) => event)

    expect(events).toMatchObject([
      { kind: 'message', wa_message_id: twilioSid(2) },
      { kind: 'unreadable', park: expect.stringContaining('a key twice') },
    ])
    expect(Buffer.from(events[1]?.payload ?? '', 'base64').toString()).toBe(text)
  })

  test('keeps ids apart that are numbers beyond 2^53', () => {
    const ids = ['12345678901234567890', '12345678901234567891'].map(
      (number) =>
        jsonJobs(`{"MessageSid":${number},"Body":"x","From":"whatsapp:+15551230001"}`)[0]?.event
          .wa_message_id,
    )

    expect(ids).toEqual(['12345678901234567890', '12345678901234567891'])
  })
})

describe('a status word', () => {
  test.each([
    ['U+0000', 'read\u0000'],
    ['a byte that is no UTF-8', 'read\udcff'],
  ])('with %s is parked: scrubbed it could meet another one', (_what, word) => {
    const event = { ...statusJob('sent')?.event, payload: JSON.stringify(twilioStatus(word)) }

    expect(normalizeTwilio(event as never)).toEqual({
      kind: 'parked',
      reason: 'the status is with characters that PostgreSQL cannot store',
    })
  })

  test('of bytes that are no UTF-8 makes another job for each of them', () => {
    const ids = ['%FE', '%FF'].map((byte) => {
      const body = Buffer.from(`MessageSid=${twilioSid(1)}&MessageStatus=${byte}&To=whatsapp:%2B15551230001`)
      return parseTwilioWebhook(twilioWebhook(body))[0]?.job_id
    })

    expect(ids[0]).not.toBe(ids[1])
  })
})

test('U+0000 reaches no text of the job beside the payload, because the queue may keep jobs in jsonb', () => {
  const forms = [
    twilioMessage({ AccountSid: 'AC\u0000', To: 'whatsapp:\u0000shop' }),
    { EventType: 'on\u0000Added', ConversationSid: 'CH1', AccountSid: 'AC\u0000' },
  ]

  for (const form of forms) {
    const [job] = parseTwilioWebhook(twilioWebhook(form))
    expect(JSON.stringify({ ...job?.event, payload: '' })).not.toContain('\\u0000')
  }
})

test('an unreadable body keeps the callback id of its URL', () => {
  const callback_id = '7f2c1de0-0000-4000-8000-000000000001'
  const webhook = twilioWebhook(Buffer.from('\u0000'), { url: `/webhooks/twilio?callback_id=${callback_id}` })

  expect(parseTwilioWebhook(webhook)[0]?.event).toMatchObject({
    kind: 'unreadable',
    context: JSON.stringify({ callback_id }),
  })
})
