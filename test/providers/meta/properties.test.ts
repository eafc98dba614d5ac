/**
 * What holds for every body, whatever stands in it. The examples are made of the fixtures with any JSON value in any
 * place, of envelopes with any values as their items, and of bytes that are nothing at all.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { InboundJob } from '../../../src/core/event.ts'
import { normalizeMeta } from '../../../src/providers/meta/normalize.ts'
import { parseMetaWebhook } from '../../../src/providers/meta/parse.ts'
import { anyText } from '../../support/any-text.ts'
import {
  metaChange,
  metaContact,
  metaHandover,
  metaMessage,
  metaMessagesWebhook,
  metaSentEcho,
  metaStandby,
  metaStatus,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { MESSAGE_FIXTURES } from './fixtures.ts'
import { jobsOf } from './meta-facts.ts'

type Json = Record<string, unknown>

/** Ids that collide with no key of the queue: a word of ours, a dot, and nothing but harmless characters. */
const LEGAL_JOB_ID =
  /^(?:(?:wamid|message|status|echo|standby|history|event)\.[A-Za-z0-9+/=_.-]+|(?:SM|MM)[0-9a-fA-F]{32})$/
const LISTS = [
  'messages',
  'statuses',
  'message_echoes',
  'calls',
  'groups',
  'user_preferences',
  'state_sync',
] as const

/** Any JSON, with the keys and words that mean something to the reader more often than chance would have them. */
const anyKey = fc.oneof(
  fc.string(),
  fc.constantFrom(
    '__proto__',
    'constructor',
    'toString',
    'id',
    'type',
    'from',
    'wa_id',
    'messages',
    'context',
  ),
)
const anyJson = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.constantFrom<unknown>(
      null,
      true,
      '',
      'edit',
      'system',
      'wamid.A',
      '15551230001',
      'US.1',
      'M0',
      -1,
      1e21,
    ),
    anyText(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.maxSafeInteger(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(anyKey, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
})).value

const FIXTURES = MESSAGE_FIXTURES.map(({ message }) => metaMessage(message))
const WEBHOOKS: Json[] = [
  ...FIXTURES.map((message) => metaMessagesWebhook([message], [metaContact({ user_id: 'US.1' })])),
  metaWebhook([
    metaChange({
      contacts: [metaContact()],
      statuses: [metaStatus({ errors: [{ code: 1 }], pricing: { a: 1 } })],
    }),
    metaChange({ message_echoes: FIXTURES.slice(0, 3) }, 'smb_message_echoes'),
    metaChange(
      { history: [{ metadata: { phase: 0 }, threads: [{ id: '1', messages: FIXTURES }] }] },
      'history',
    ),
    metaChange({ user_id_update: [{ user_id: { previous: 'US.1', current: 'US.2' } }] }, 'user_id_update'),
    metaChange({ state_sync: [{ action: 'add', contact: { phone_number: '15551230001' } }] }),
    metaStandby({ contacts: [metaContact()], messages: FIXTURES.slice(0, 2), statuses: [metaStatus()] }),
    metaStandby({ message_echoes: [metaSentEcho({ recipient: 'US.1' }, { template: { name: 'x' } })] }),
    metaHandover({ type: 'control_passed' }, { metadata: 'm' }),
    metaHandover({ type: 'control_taken' }),
    metaChange({ groups: [{ added_participants: [{ wa_id: '15551230001', user_id: 'US.1' }] }] }),
  ]),
]

describe('every body', () => {
  test('of any bytes becomes at least one legal job, and throws nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expectLegal(parseMetaWebhook(Buffer.from(bytes), 0))
      }),
    )
  })

  test('of any JSON becomes at least one legal job, and throws nothing', () => {
    fc.assert(fc.property(anyJson, (value) => expectLegal(jobsOf(value))))
  })

  test('with any value in any place becomes legal jobs, and throws nothing', () => {
    fc.assert(
      fc.property(fc.constantFrom(...WEBHOOKS), fc.nat(), anyJson, (webhook, place, value) => {
        expectLegal(jobsOf(withValueAt(webhook, place, value)))
      }),
      { numRuns: 3000 },
    )
  })

  test('with any bytes changed becomes legal jobs, and throws nothing', () => {
    const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) })
    fc.assert(
      fc.property(fc.constantFrom(...WEBHOOKS), fc.array(change, { maxLength: 3 }), (webhook, changes) => {
        const bytes = Buffer.from(JSON.stringify(webhook))
        for (const { at, byte } of changes) bytes[at % bytes.length] = byte

        expectLegal(parseMetaWebhook(bytes, 0))
      }),
    )
  })
})

describe('every item', () => {
  const value = fc.record(
    {
      ...Object.fromEntries(LISTS.map((name) => [name, fc.array(anyJson, { maxLength: 4 })])),
      contacts: anyJson,
    },
    { requiredKeys: [] },
  )

  test('is one event, in its order, whatever it is', () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 3 }), (values) => {
        const jobs = jobsOf(metaWebhook(values.map((item) => metaChange(item))))

        for (const name of LISTS) {
          const items = values.flatMap((item) => (item as Json)[name] ?? [])
          expect(payloadsOf(jobs, name)).toEqual(items.map((item) => JSON.stringify(item)))
        }
      }),
    )
  })

  test('that has an id is a message, whatever else is wrong with it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FIXTURES), fc.nat(), anyJson, (fixture, place, json) => {
        const message = { ...(withValueAt(fixture, place, json) as Json), id: 'wamid.A' }
        const [job, ...more] = jobsOf(metaMessagesWebhook([message]))

        expect(more).toEqual([])
        expect(job?.job_id).toBe('wamid.A')
        expect(normalizeMeta(job!.event)).toMatchObject({ kind: 'message', wa_message_id: 'wamid.A' })
      }),
      { numRuns: 2000 },
    )
  })

  test('that has an id and a word is a status, whatever else is wrong with it', () => {
    const status = metaStatus({ recipient_type: 'group', errors: [{}], pricing: {}, conversation: {} })
    fc.assert(
      fc.property(fc.nat(), anyJson, (place, json) => {
        const broken = {
          ...(withValueAt(status, place, json) as Json),
          id: 'wamid.A',
          status: 'read',
          type: 'x',
        }
        const [job] = jobsOf(metaWebhook([metaChange({ statuses: [broken] })]))

        expect(normalizeMeta(job!.event)).toMatchObject({ kind: 'status', wa_message_id: 'wamid.A' })
      }),
      { numRuns: 1000 },
    )
  })

  test('is the same job when it comes again', () => {
    fc.assert(
      fc.property(value, (item) => {
        const ids = () => jobsOf(metaWebhook([metaChange(item)])).map((job) => job.job_id)

        expect(ids()).toEqual(ids())
      }),
    )
  })
})

function expectLegal(jobs: readonly InboundJob[]): void {
  expect(jobs.length).toBeGreaterThan(0)
  for (const { job_id, event } of jobs) {
    expect(job_id).toMatch(LEGAL_JOB_ID)
    expect(JSON.parse(JSON.stringify(event))).toEqual(event)
    const fact = normalizeMeta(event)
    expect(fact.kind === 'parked').toBe(event.park !== undefined)
  }
}

function payloadsOf(jobs: readonly InboundJob[], name: string): string[] {
  return jobs
    .filter(({ event }) => JSON.parse(event.context ?? '{}').list === name)
    .map(({ event }) => event.payload)
}

/** A copy with another value at one of its places, the whole included. */
function withValueAt(original: unknown, place: number, value: unknown): unknown {
  const places = placesIn(original)
  const path = places[place % places.length] ?? []
  if (path.length === 0) return value
  const copy = structuredClone(original)
  let parent = copy as Json
  for (const key of path.slice(0, -1)) parent = parent[key] as Json
  parent[path.at(-1) ?? ''] = value
  return copy
}

function placesIn(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, child]) => placesIn(child, [...path, key]))]
}
