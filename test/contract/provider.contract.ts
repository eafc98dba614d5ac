/**
 * What the service relies on with every provider (`Provider` and `Normalize` in src/providers/provider.ts). The suite is
 * given a provider's own way to write and sign webhooks, and nothing else of it.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EVENT_VERSION, type InboundJob, type ProviderName, type WebhookEvent } from '../../src/core/event.ts'
import type { IncomingWebhook, Normalize, Provider } from '../../src/providers/provider.ts'

export type ProviderUnderTest = {
  name: ProviderName
  createProvider(secrets: readonly string[]): Provider
  normalize: Normalize
  /** Lower case, as Node has it. */
  signatureHeader: string
  /** The body as the provider delivers it, signed with this secret by code that is not ours. */
  sign(rawBody: Buffer, secret: string): IncomingWebhook
  /** Two ids that the provider could give. */
  messageIds: readonly [string, string]
  /** An inbound text message, whole. */
  messageBody(message: { id: string; text?: string }): Buffer
  statusBody(status: { id: string; status: string }): Buffer
  /** Signed, and neither a message nor a status. */
  otherBody(): Buffer
  /** Messages and statuses with this value in one field after another, however little it belongs there. */
  bodiesWith(value: string): Buffer[]
  /** Bodies of the right shape with anything in them. */
  anyBody: fc.Arbitrary<Buffer>
}

const SECRETS = ['first-secret-0123456789', 'second-secret-0123456789'] as const
const RECEIVED_AT = 1_763_700_000_000

/** BullMQ keeps its own keys beside the jobs (test/contract/queue.contract.ts tries hostile ids on the real queues). */
const RESERVED_JOB_IDS =
  /^(?:active|completed|delayed|events|failed|id|limiter|marker|meta|metrics|paused|pc|prioritized|repeat|stalled|stalled-check|wait|waiting-children)$/

const HOSTILE_VALUES: readonly (readonly [name: string, value: string])[] = [
  ['an empty text', ''],
  ['U+0000', 'a\u0000b'],
  ['a lone surrogate', 'a\ud800b\udc00'],
  ['a text of 5 MB', 'x'.repeat(5 * 1024 * 1024)],
  ['600 bytes in 300 characters', '\u00e9'.repeat(300)],
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['toString', 'toString'],
  ['a key of the queue', 'wait'],
  ['digits only', '12345678901234567890'],
  ['colons', 'a:b:c'],
  ['a path', '../../etc/passwd'],
  ['SQL', `'); DROP TABLE chat_messages; --`],
  ['JSON', '{"__proto__":{"polluted":true}}'],
  ['JSON nested 10,000 levels deep', '['.repeat(10_000) + ']'.repeat(10_000)],
  ['line ends and tabs', 'a\r\n\tb\u2028\u2029'],
]

export function describeProviderContract(subject: ProviderUnderTest): void {
  describe(`the provider ${subject.name}`, () => {
    describe('takes for authentic only what was signed', () => describeAuthenticity(subject))
    describe('makes events', () => describeEvents(subject))
    describe('survives', () => describeHostility(subject))
  })
}

function describeAuthenticity(subject: ProviderUnderTest): void {
  const [secret, otherSecret] = SECRETS
  const body = subject.messageBody({ id: subject.messageIds[0] })
  const webhook = subject.sign(body, secret)
  const provider = subject.createProvider([secret])
  const signature = String(webhook.headers[subject.signatureHeader])
  const withSignature = (header: string | undefined): IncomingWebhook => ({
    ...webhook,
    headers: { ...webhook.headers, [subject.signatureHeader]: header },
  })

  test('by one of its secrets: several apps, and both sides of a rotation', () => {
    expect(provider.isAuthentic(webhook)).toBe(true)
    expect(subject.createProvider([otherSecret, secret]).isAuthentic(webhook)).toBe(true)
    expect(subject.createProvider([secret, otherSecret]).isAuthentic(webhook)).toBe(true)
    expect(subject.createProvider([otherSecret]).isAuthentic(webhook)).toBe(false)
    expect(subject.createProvider([]).isAuthentic(webhook)).toBe(false)
  })

  test('never by an empty secret, which everybody has', () => {
    const forged = subject.sign(body, '')

    expect(subject.createProvider(['']).isAuthentic(forged)).toBe(false)
    expect(subject.createProvider([secret, '']).isAuthentic(forged)).toBe(false)
  })

  test.each([
    ['missing', undefined],
    ['empty', ''],
    ['one character short', signature.slice(0, -1)],
    ['one character long', `${signature}0`],
    [
      'in another case',
      signature === signature.toUpperCase() ? signature.toLowerCase() : signature.toUpperCase(),
    ],
    ['repeated', `${signature}, ${signature}`],
    ['not ASCII', '\u00e9'.repeat(signature.length)],
    ['of another body', String(subject.sign(subject.otherBody(), secret).headers[subject.signatureHeader])],
  ])('not with a signature that is %s', (_, header) => {
    expect(provider.isAuthentic(withSignature(header))).toBe(false)
  })

  // Not every byte can be missing: Twilio signs names and values without what stands between them.
  test('not with any byte of the body changed or added, nor with its end cut off', () => {
    fc.assert(
      fc.property(fc.nat(body.length - 1), fc.boolean(), (at, isAdded) => {
        const changed = [...body]
        changed.splice(at, isAdded ? 0 : 1, (body[at] === 0x78 ? 'y' : 'x').charCodeAt(0))
        expect(provider.isAuthentic({ ...webhook, rawBody: Buffer.from(changed) })).toBe(false)
      }),
    )
    for (const rawBody of [body.subarray(0, -1), Buffer.alloc(0)]) {
      expect(provider.isAuthentic({ ...webhook, rawBody })).toBe(false)
    }
  })

  test('whatever the header and the body are, without throwing', () => {
    const header = fc.oneof(fc.string({ unit: 'binary' }), fc.constant(signature), fc.constant(undefined))
    fc.assert(
      fc.property(
        header,
        fc.uint8Array({ maxLength: 200 }),
        fc.string({ unit: 'binary' }),
        (forged, bytes, url) => {
          const request = { ...withSignature(forged), rawBody: Buffer.from(bytes), url }
          expect(provider.isAuthentic(request)).toBe(false)
        },
      ),
    )
  })
}

function describeEvents(subject: ProviderUnderTest): void {
  const [id, otherId] = subject.messageIds
  const { parse } = subject.createProvider(SECRETS)
  const deliver = (body: Buffer, received_at = RECEIVED_AT) =>
    parse({ ...subject.sign(body, SECRETS[0]), received_at })
  const jobIds = (body: Buffer, received_at?: number) => deliver(body, received_at).map((job) => job.job_id)

  test('under the id of the message, which is also the id of the job', () => {
    const [job, ...others] = deliver(subject.messageBody({ id, text: 'hello' }))

    expect(others).toEqual([])
    expect(job).toMatchObject({
      job_id: id,
      event: {
        v: EVENT_VERSION,
        kind: 'message',
        provider: subject.name,
        wa_message_id: id,
        received_at: RECEIVED_AT,
      },
    })
    expect(subject.normalize(eventOf(job))).toMatchObject({
      kind: 'message',
      direction: 'inbound',
      wa_message_id: id,
      message_type: 'text',
      content: 'hello',
    })
  })

  test('of a status beside those of its message', () => {
    const [job, ...others] = deliver(subject.statusBody({ id, status: 'delivered' }))

    expect(others).toEqual([])
    expect(job).toMatchObject({
      job_id: `status.delivered.${id}`,
      event: { kind: 'status', wa_message_id: id },
    })
    expect(subject.normalize(eventOf(job))).toMatchObject({
      kind: 'status',
      status: 'delivered',
      wa_message_id: id,
    })
  })

  test('of everything else, whole', () => {
    const jobs = deliver(subject.otherBody())

    expect(jobs.length).toBeGreaterThan(0)
    for (const { job_id, event } of jobs) {
      expect(event.kind).toBe('other')
      expect(job_id).toMatch(/^event\.[0-9a-f]{64}$/)
      expect(subject.normalize(event).kind).toBe('other')
    }
  })

  test('with the same job ids when it is delivered again', () => {
    for (const body of sampleBodies(subject)) {
      expect(jobIds(body, RECEIVED_AT + 86_400_000)).toEqual(jobIds(body))
    }
  })

  test('with different job ids for different things', () => {
    const ids = sampleBodies(subject).flatMap((body) => jobIds(body))

    expect(new Set(ids).size).toBe(ids.length)
    expect(jobIds(subject.messageBody({ id: otherId }))).not.toEqual(jobIds(subject.messageBody({ id })))
  })

  test('with a job id that the queue takes, whatever the provider calls its message', () => {
    const messageId = fc.oneof(
      fc.string({ unit: 'grapheme', minLength: 1 }),
      fc.constantFrom('wait', 'meta', '0', '123', 'a:b', 'a:b:c', 'status.read.x', '__proto__'),
    )
    fc.assert(
      fc.property(messageId, messageId, (name, status) => {
        for (const body of [subject.messageBody({ id: name }), subject.statusBody({ id: name, status })]) {
          for (const job of deliver(body)) expectSound(subject, job)
        }
      }),
    )
  })
}

function describeHostility(subject: ProviderUnderTest): void {
  const { parse, isAuthentic } = subject.createProvider(SECRETS)
  const expectSurvived = (webhook: IncomingWebhook) => {
    const jobs = parse(webhook)
    expect(jobs.length).toBeGreaterThan(0)
    for (const job of jobs) expectSound(subject, job)
    expect(parse(webhook)).toEqual(jobs)
  }

  test.each(HOSTILE_VALUES)('%s in every field', (_, value) => {
    for (const body of subject.bodiesWith(value)) {
      const webhook = subject.sign(body, SECRETS[0])
      expect(isAuthentic(webhook)).toBe(true)
      expectSurvived(webhook)
    }
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test('any bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 300 })
    fc.assert(fc.property(bytes, (body) => expectSurvived(unsigned(Buffer.from(body)))))
  })

  test('anything in the right places', () => {
    fc.assert(fc.property(subject.anyBody, (body) => expectSurvived(unsigned(body))))
  })

  test('its own webhooks with bytes changed, cut out and repeated', () => {
    const bodies = sampleBodies(subject)
    const mutation = fc.record({
      index: fc.nat(bodies.length - 1),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      cut: fc.nat(20),
      insert: fc.oneof(fc.uint8Array({ maxLength: 4 }), fc.constantFrom(...'{}[]",:&=%+\\u0')),
      repeat: fc.boolean(),
    })
    fc.assert(
      fc.property(mutation, ({ index, at, cut, insert, repeat }) => {
        const body = bodies[index] ?? Buffer.alloc(0)
        const start = Math.floor(at * body.length)
        const parts = [
          body.subarray(0, start),
          Buffer.from(insert),
          body.subarray(start + (repeat ? -cut : cut)),
        ]
        expectSurvived(unsigned(Buffer.concat(parts)))
      }),
      { numRuns: 1000 },
    )
  })
}

/** One body of everything that a provider sends. */
function sampleBodies(subject: ProviderUnderTest): Buffer[] {
  const [id, otherId] = subject.messageIds
  return [
    subject.messageBody({ id }),
    subject.messageBody({ id: otherId }),
    ...['sent', 'delivered', 'read', 'failed', 'in_orbit'].map((status) =>
      subject.statusBody({ id, status }),
    ),
    subject.statusBody({ id: otherId, status: 'read' }),
    subject.otherBody(),
  ]
}

/** What holds for every job that any webhook makes. */
function expectSound(subject: ProviderUnderTest, { job_id, event }: InboundJob): void {
  expect(job_id).toMatch(/^(?!\d+$)[^:]{1,700}$/)
  expect(job_id).not.toMatch(RESERVED_JOB_IDS)
  expect(event).toMatchObject({ v: EVENT_VERSION, provider: subject.name })
  const received: WebhookEvent = JSON.parse(JSON.stringify(event))
  expect(received).toEqual(event)
  const fact = subject.normalize(event)
  expect(subject.normalize(received)).toEqual(fact)
  if (event.park !== undefined) expect(fact).toEqual({ kind: 'parked', reason: event.park })
  if (event.kind === 'unreadable') expect(fact.kind).toBe('parked')
  else expect(() => JSON.parse(event.payload)).not.toThrow()
  if (fact.kind === 'message' || fact.kind === 'status') expect(fact.wa_message_id).toBe(event.wa_message_id)
}

function unsigned(rawBody: Buffer): IncomingWebhook {
  return { rawBody, headers: {}, url: '/', received_at: RECEIVED_AT }
}

function eventOf(job: InboundJob | undefined): WebhookEvent {
  if (job === undefined) throw new Error('no event')
  return job.event
}
