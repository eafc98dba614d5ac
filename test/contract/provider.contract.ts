/**
 * What the service relies on with every provider (src/providers/provider.ts, src/providers/sender.ts). The suite is given the
 * definition, the provider's own way to write and sign webhooks, and a fake of its API.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load-config.ts'
import { EVENT_VERSION, type InboundJob, type WebhookEvent } from '../../src/core/event.ts'
import type { OutboundMessage } from '../../src/core/outbound.ts'
import { HistoryError } from '../../src/providers/message-history.ts'
import type { IncomingWebhook, Provider, ProviderDefinition } from '../../src/providers/provider.ts'
import type { Sender } from '../../src/providers/sender.ts'
import { notesOf } from '../../src/variables/variable.ts'
import { anyText } from '../support/any-text.ts'
import type { Behaviour, FakeServer } from '../support/fake-server.ts'

export type ProviderUnderTest = {
  definition: ProviderDefinition
  /** As it is configured with these secrets that sign webhooks. */
  createProvider(secrets: readonly string[]): Provider
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
  /** The provider's API. `reads`: the behaviours are for calls that read lists, and no longer for those that send. */
  startApi(options?: { behavioursFor: 'reads' }): Promise<{
    server: FakeServer
    /** Everything that sending takes. */
    env: NodeJS.ProcessEnv
    /** The credential in `env` that no message may show. */
    credential: string
  }>
  businessNumber: string
  /** What the API answers to a message that it does not take, whatever is tried. */
  refusal: { status: number; body: unknown }
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
  ['a text of 1 MB', 'x'.repeat(1024 * 1024)],
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
  describe(`the provider ${subject.definition.name}`, () => {
    describe('is described', () => describeDefinition(subject))
    describe('takes for authentic only what was signed', () => describeAuthenticity(subject))
    describe('makes events', () => describeEvents(subject))
    describe('survives', () => describeHostility(subject))
    describe('parses again', () => describeReparsing(subject))
    describe('sends', () => describeSending(subject))
    describe('does beside sending', () => describeAbilities(subject))
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
    const header = fc.oneof(anyText(), fc.constant(signature), fc.constant(undefined))
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 200 }), anyText(), (forged, bytes, url) => {
        const request = { ...withSignature(forged), rawBody: Buffer.from(bytes), url }
        expect(provider.isAuthentic(request)).toBe(false)
      }),
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
        provider: subject.definition.name,
        wa_message_id: id,
        received_at: RECEIVED_AT,
      },
    })
    expect(subject.definition.normalize(eventOf(job))).toMatchObject({
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
    expect(subject.definition.normalize(eventOf(job))).toMatchObject({
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
      expect(subject.definition.normalize(event).kind).toBe('other')
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

function describeDefinition({ definition, messageIds, createProvider }: ProviderUnderTest): void {
  const { name, label, variables, acknowledgement } = definition
  const idsOf = (pattern: string) =>
    messageIds.map((id) => new RegExp(pattern).exec(`status.read.${id}`)?.[0])

  test('by a word that routes and rows can hold, and its name for people', () => {
    expect(name).toMatch(/^[a-z][a-z0-9]{1,30}$/)
    expect(label).not.toBe('')
  })

  test('with variables of its own name, and a signing secret that is kept, checked and made', () => {
    for (const [variable, format] of Object.entries(variables)) {
      expect(variable).toMatch(new RegExp(`^${name.toUpperCase()}_[A-Z_]+$`))
      expect(notesOf(variable, format).meaning).not.toBe('')
    }
    const secret = variables[definition.signingSecret]
    const notes = secret && notesOf(definition.signingSecret, secret)
    expect(notes).toMatchObject({ isSecret: true, strength: { isList: true } })
    expect(secret?.parse(notes?.generate?.())).toHaveLength(1)
  })

  test('with an acknowledgement whose length is right', () => {
    const { headers, body = '' } = acknowledgement
    expect(headers['Content-Length'] ?? String(body.length)).toBe(String(Buffer.byteLength(body)))
  })

  test('with patterns that know its message ids', () => {
    for (const id of messageIds) expect(id).toMatch(new RegExp(definition.messageIds.own))
    expect(idsOf(definition.messageIds.plain)).toEqual([...messageIds])
  })

  test('with a handshake, where there is one, that a stranger does not pass', () => {
    const { handshake } = createProvider(SECRETS)
    if (handshake === undefined) return
    expect(handshake.refusal).not.toBe('')
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.array(fc.string()))), (query) => {
        expect(handshake.answer(query)).toBeUndefined()
      }),
    )
  })
}

function describeReparsing(subject: ProviderUnderTest): void {
  const { reparse } = subject.definition
  const { parse } = subject.createProvider(SECRETS)

  test('every item that it has made to the same job', () => {
    for (const body of sampleBodies(subject)) {
      for (const job of parse(unsigned(body))) {
        const { park: _, ...event } = job.event
        expect(reparse(event)).toEqual([job])
      }
    }
  })

  test('a whole body that could not be read to what it says', () => {
    for (const body of sampleBodies(subject)) {
      const kept = parse(unsigned(Buffer.from([0xff, 0xfe, 0x00])))[0]?.event
      const event = { ...eventOf(kept && { job_id: '', event: kept }), payload: body.toString('base64') }
      expect(reparse(event).map(({ job_id }) => job_id)).toEqual(
        parse(unsigned(body)).map(({ job_id }) => job_id),
      )
    }
  })

  test('anything at all without throwing, and to at least one job', () => {
    const kinds = fc.constantFrom('message', 'status', 'echo', 'history', 'other', 'unreadable')
    fc.assert(
      fc.property(
        kinds,
        fc.string(),
        fc.option(fc.string(), { nil: undefined }),
        (kind, payload, context) => {
          const event = {
            v: EVENT_VERSION,
            kind,
            provider: subject.definition.name,
            received_at: 0,
            payload,
          } as const
          const jobs = reparse({ ...event, ...(context === undefined ? {} : { context }) })
          expect(jobs.length).toBeGreaterThan(0)
        },
      ),
    )
  })
}

const TIMEOUT_MS = 5_000

/** The provider with everything that sending takes. */
async function startSender(subject: ProviderUnderTest, options?: { behavioursFor: 'reads' }) {
  const { definition } = subject
  const { server, env, credential } = await subject.startApi(options)
  const { providers } = loadConfig(env, { needsSecrets: false, providers: [definition] })
  const provider = providers.find(({ name }) => name === definition.name)
  const sender = provider?.createSender()
  if (provider === undefined || sender === undefined) throw new Error('there is no sender')
  const send = (message: Partial<OutboundMessage> = {}, signal = AbortSignal.timeout(TIMEOUT_MS)) =>
    sender.send({ ...textMessage(subject), ...message }, signal)
  return { server, provider, sender, send, credential }
}

function textMessage({ definition, businessNumber }: ProviderUnderTest): OutboundMessage {
  return {
    message_id: '1',
    provider: definition.name,
    business_number: businessNumber,
    recipient: { phone: '15551230001' },
    callback_id: '7d0f0c9e-9d55-4c0f-8a35-0b4a8c6d2f11',
    content: { type: 'text', text: 'Hello' },
  }
}

const answering =
  (status: number, body: unknown = {}): Behaviour =>
  (_, exchange) =>
    exchange.answer(status, body)

function describeSending(subject: ProviderUnderTest): void {
  const { definition } = subject

  test('only with its credentials', async () => {
    const { providers } = loadConfig({}, { needsSecrets: false, providers: [definition] })
    const { sender } = await startSender(subject)

    expect(providers.map((provider) => provider.createSender())).toEqual([undefined])
    expect(sender.credentialDigest).toMatch(/^[0-9a-f]{16}$/)
  })

  test('a text with one call, and knows the id of the message', async () => {
    const { server, send, sender } = await startSender(subject)

    const result = await send()

    expect(result).toMatchObject({
      kind: 'accepted',
      wa_message_id: expect.stringMatching(definition.messageIds.own),
    })
    expect(server.calls).toHaveLength(1)
    if (result.kind === 'accepted')
      expect(sender.jobIds.message(result.wa_message_id)).toBe(result.wa_message_id)
  })

  test.each<[kind: string, what: string, behaviour: Behaviour]>([
    ['unknown', 'the connection is cut before the answer', (_, exchange) => exchange.cut()],
    ['unknown', 'the answer is cut', (_, exchange) => exchange.cutAnswer()],
    ['unknown', 'the answer names no message', answering(200)],
    ['unknown', 'the answer is not JSON', answering(200, '<html>')],
    ['unknown', 'the API has a defect', answering(500)],
    ['unknown', 'the API was too slow for a proxy', answering(504)],
    ['not_sent', 'there are too many messages', answering(429)],
    ['stop_sender', 'the credentials are refused', answering(401)],
    ['stop_sender', 'the permission is missing', answering(403)],
    ['failed', 'the message is refused', answering(subject.refusal.status, subject.refusal.body)],
  ])('and the result is %s where %s', async (kind, _what, behaviour) => {
    const { server, send } = await startSender(subject)
    server.next(behaviour)

    expect(await send()).toMatchObject({ kind, error: { message: expect.any(String) } })
    expect(server.calls).toHaveLength(1)
  })

  test('and the result is not_sent where nothing could be connected to', async () => {
    const { server, send } = await startSender(subject)
    await server.refuse()

    expect(await send()).toMatchObject({ kind: 'not_sent', reason: 'unreachable' })
  })

  test('and the result is unknown where the call took too long', async () => {
    const { server, send } = await startSender(subject)
    server.next(() => {})

    expect(await send({}, AbortSignal.timeout(100))).toMatchObject({ kind: 'unknown' })
  })

  test('without showing its credentials, also where the answer quotes them', async () => {
    const { server, send, credential } = await startSender(subject)
    const { status, body } = subject.refusal
    const quoting = JSON.parse(JSON.stringify(body).replaceAll('refused', `refused ${credential}`))
    server.next(answering(status, quoting))

    const result = await send()

    expect(result).toMatchObject({ kind: 'failed', error: { message: expect.stringContaining('[hidden]') } })
    expect(JSON.stringify(result)).not.toContain(credential)
  })

  test('nothing that it cannot express: such a message fails, whatever it is', async () => {
    const { send } = await startSender(subject)
    const contents: OutboundMessage['content'][] = [
      { type: 'template', template: {} },
      { type: 'reaction', reaction: { message_id: '1', emoji: '' } },
      { type: 'image', media: {} },
    ]

    for (const content of contents)
      expect(['accepted', 'failed']).toContain((await send({ content, target_wa_message_id: 'x' })).kind)
  })
}

/** What not every provider does. The definition says what this one does. */
function describeAbilities(subject: ProviderUnderTest): void {
  const { definition, businessNumber } = subject
  const signal = () => AbortSignal.timeout(TIMEOUT_MS)

  test('what its definition says, and nothing else', async () => {
    const { provider, sender } = await startSender(subject)

    expect(sender.markRead !== undefined).toBe(definition.hasReadReceipts)
    expect(sender.copyFile === undefined).toBe(definition.uploads.isFetched)
    expect(provider.isUploadLink !== undefined).toBe(definition.uploads.isFetched)
    expect(sender.history !== undefined).toBe(definition.history !== undefined)
  })

  test('copies of files: never with a result that is unknown', async () => {
    const { server, sender } = await startSender(subject)
    const { copyFile } = sender
    if (copyFile === undefined) return
    const file = { business_number: businessNumber, content: new Blob(['%PDF']), filename: 'a.pdf' }

    expect(await copyFile(file, signal())).toMatchObject({
      kind: 'copied',
      media_id: expect.stringMatching(/./),
    })
    for (const behaviour of [answering(500), answering(200), (_: unknown, it: { cut(): void }) => it.cut()]) {
      server.next(behaviour)
      expect(await copyFile(file, signal())).toMatchObject({ kind: 'not_sent' })
    }
    server.next(answering(401))
    expect(await copyFile(file, signal())).toMatchObject({ kind: 'stop_sender' })
  })

  test('read receipts: done, to be tried again, or given up', async () => {
    const { server, sender } = await startSender(subject)
    const { markRead } = sender
    if (markRead === undefined) return
    const receipt = {
      provider: definition.name,
      business_number: businessNumber,
      wa_message_id: subject.messageIds[0],
    }

    expect(await markRead(receipt, signal())).toEqual({ kind: 'done' })
    await server.refuse()
    expect(await markRead(receipt, signal())).toMatchObject({ kind: 'retry' })
  })

  test('looking for what it has sent: the one message, or undefined where the API cannot be asked', async () => {
    const { server, sender, send } = await startSender(subject)
    const { findSent } = sender
    if (findSent === undefined) return
    const query = {
      business_number: businessNumber,
      recipient: { phone: '15551230001' },
      text: 'Hello',
      after: new Date(Date.now() - 60_000),
      before: new Date(Date.now() + 60_000),
    }
    expect(await findSent(query, signal())).toEqual([])
    const sent = await send()

    expect(await findSent(query, signal())).toMatchObject([
      { wa_message_id: 'wa_message_id' in sent && sent.wa_message_id, business_number: businessNumber },
    ])
    await server.refuse()
    expect(await findSent(query, signal())).toBeUndefined()
  })

  test('its history: pages of a day, and errors that say whose turn it is', async () => {
    if (definition.history === undefined) return
    const { server, sender } = await startSender(subject, { behavioursFor: 'reads' })
    const day = new Date().toISOString().slice(0, 10)
    const history = getHistory(sender)

    expect(history.account).not.toBe('')
    expect(await history.readPage({ day }, signal())).toMatchObject({ messages: [] })
    server.next(answering(401))
    const refused = await history.readPage({ day }, signal()).catch((err: unknown) => err)
    expect(refused).toBeInstanceOf(HistoryError)
    expect(refused).toMatchObject({ kind: 'credentials' })
    expect(definition.history.credentialsHint).not.toBe('')
  })
}

function getHistory({ history }: Sender) {
  if (history === undefined) throw new Error('the sender has no history')
  return history
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
  expect(event).toMatchObject({ v: EVENT_VERSION, provider: subject.definition.name })
  const received: WebhookEvent = JSON.parse(JSON.stringify(event))
  expect(received).toEqual(event)
  const fact = subject.definition.normalize(event)
  expect(subject.definition.normalize(received)).toEqual(fact)
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
