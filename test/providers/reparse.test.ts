/** What was parked is parsed once more: by itself it gives what it gave in its webhook, and no less. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { InboundJob, WebhookEvent } from '../../src/core/event.ts'
import { reparse } from '../../src/providers/index.ts'
import { parseMetaWebhook } from '../../src/providers/meta/parse.ts'
import { parseTwilioWebhook } from '../../src/providers/twilio/parse.ts'
import { createMarker } from '../support/hostile/marks.ts'
import { anyCase, hostileBody } from '../support/hostile/mutations.ts'
import { META_WEBHOOKS, TWILIO_FORMS } from '../support/hostile/well-formed.ts'
import { metaChange, metaMessage, metaMessagesWebhook, metaWebhook } from '../support/meta-webhooks.ts'
import { encodeTwilioForm, twilioMessage, twilioWebhook } from '../support/twilio-webhooks.ts'

const RECEIVED_AT = 1_763_700_000_000
const jobsOf = (body: unknown) => parseMetaWebhook(Buffer.from(JSON.stringify(body)), RECEIVED_AT)
const withoutPark = ({ park: _, ...event }: WebhookEvent): WebhookEvent => event

/** As it comes back from `webhook_events`, where jsonb has its own order of keys. */
function throughJsonb(event: WebhookEvent): WebhookEvent {
  if (event.context === undefined) return withoutPark(event)
  const entries = Object.entries(JSON.parse(event.context)).sort(([a], [b]) => (a < b ? -1 : 1))
  return { ...withoutPark(event), context: JSON.stringify(Object.fromEntries(entries)) }
}

function expectSame(again: readonly InboundJob[], job: InboundJob): void {
  expect(again.map(({ job_id }) => job_id)).toEqual([job.job_id])
  expect(again.map(({ event }) => ({ ...event, context: JSON.parse(event.context ?? '{}') }))).toEqual([
    { ...job.event, context: JSON.parse(job.event.context ?? '{}') },
  ])
}

describe('an item', () => {
  test('of any of Meta’s webhooks is the same job again', () => {
    for (const build of META_WEBHOOKS)
      for (const job of jobsOf(build(createMarker()))) expectSame(reparse(throughJsonb(job.event)), job)
  })

  test('of any of Twilio’s webhooks is the same job again', () => {
    for (const build of TWILIO_FORMS) {
      const url = '/webhooks/twilio?callback_id=7f2c1de0-0000-4000-8000-000000000001'
      for (const job of parseTwilioWebhook(twilioWebhook(build(createMarker()), { url })))
        expectSame(reparse(throughJsonb(job.event)), job)
    }
  })

  test.each([
    ['an entry that is no object', { object: 'x', entry: [7] }],
    ['an entry without changes', metaWebhook([], { changes: 7 })],
    ['a change that is no object', metaWebhook([7])],
    ['a change without value', metaWebhook([{ field: 'messages' }])],
    ['a chunk of history that is no object', metaWebhook([metaChange({ history: [7] }, 'history')])],
    ['a message without id', metaMessagesWebhook([metaMessage({ id: undefined })])],
    ['a status without word', metaWebhook([metaChange({ statuses: [{ id: 'wamid.A' }] })])],
    ['a call that is no object', metaWebhook([metaChange({ calls: [7] }, 'calls')])],
  ])('that cannot be understood stays so: %s', (_what, body) => {
    const jobs = jobsOf(body).filter(({ event }) => event.park !== undefined)

    expect(jobs).toHaveLength(1)
    for (const job of jobs) expectSame(reparse(throughJsonb(job.event)), job)
  })

  test.each(['entry', 'change'])('is found in the %s that an older release could not take apart', (part) => {
    const change = metaChange({ messages: [metaMessage({ id: 'wamid.A' })] })
    const kept = part === 'entry' ? { id: '1', changes: [change] } : change
    const event = parkedEvent({ payload: JSON.stringify(kept), context: JSON.stringify({ part }) })

    const [job] = reparse(event)

    expect(job).toMatchObject({ job_id: 'wamid.A', event: { kind: 'message', wa_message_id: 'wamid.A' } })
  })

  test('nested too deeply is bytes again, of the kind that it was', () => {
    let deep: unknown = 1
    for (let level = 0; level < 600; level += 1) deep = [deep]
    const [job] = jobsOf(metaMessagesWebhook([metaMessage({ id: 'wamid.A', deep })]))

    expect(job?.event.park).toContain('message is nested deeper')
    expectSame(reparse(throughJsonb(job?.event as WebhookEvent)), job as InboundJob)
  })

  test('nested too deeply for an older release is a message as soon as it is not', () => {
    const bytes = Buffer.from(JSON.stringify(metaMessage({ id: 'wamid.A' }))).toString('base64')
    const context = JSON.stringify({ list: 'messages', part: 'message' })

    expect(reparse(parkedEvent({ kind: 'unreadable', payload: bytes, context }))).toMatchObject([
      { job_id: 'wamid.A', event: { kind: 'message' } },
    ])
  })
})

describe('a whole body', () => {
  test('that an older release could not read is every item in it', () => {
    const body = Buffer.from(JSON.stringify(metaMessagesWebhook([metaMessage(), metaMessage()])))
    const event = parkedEvent({ kind: 'unreadable', payload: body.toString('base64') })

    expect(reparse(event)).toEqual(parseMetaWebhook(body, RECEIVED_AT))
  })

  test('of Twilio’s that an older release could not read keeps the callback id of its URL', () => {
    const body = encodeTwilioForm(twilioMessage())
    const context = '{"callback_id": "7f2c1de0-0000-4000-8000-000000000001"}'
    const event = parkedEvent({
      provider: 'twilio',
      kind: 'unreadable',
      payload: body.toString('base64'),
      context,
    })

    expect(reparse(event)).toMatchObject([{ event: { kind: 'message', context } }])
  })

  test('and every item in it is the same job again, whatever it holds', () => {
    fc.assert(
      fc.property(anyCase, (testCase) => {
        const { format, bytes } = hostileBody(testCase, createMarker())
        const jobs =
          format === 'meta' ? parseMetaWebhook(bytes, RECEIVED_AT) : parseTwilioWebhook(twilioWebhook(bytes))
        for (const job of jobs) {
          const again = reparse(withoutPark(job.event))
          if (job.event.kind === 'unreadable') expect(again.map(({ job_id }) => job_id)).toContain(job.job_id)
          else expect(again.map(({ event }) => event.park)).toEqual([job.event.park])
        }
      }),
    )
  })
})

function parkedEvent(event: Partial<WebhookEvent>): WebhookEvent {
  return { v: 1, kind: 'other', provider: 'meta', received_at: RECEIVED_AT, payload: '{}', ...event }
}
