/**
 * Signed and hostile: for every content of a signed body the answer is 200, the service keeps running, and every item
 * is stored or parked exactly once. Real processes, on both queue backends.
 *
 * A failure prints fast-check's seed and path. WA_FUZZ_RUNS=2000 makes more runs (default 60, with up to 8 bodies
 * each); WA_FUZZ_SEED=<seed> repeats a run.
 */
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { readStats } from '../../src/db/views/stats.ts'
import {
  type HostileService,
  type SignedBody,
  startHostileService,
} from '../support/hostile/hostile-service.ts'
import { RESERVED_IDS } from '../support/hostile/hostile-texts.ts'
import { createMarker, marksIn } from '../support/hostile/marks.ts'
import { anyCase, type HostileBody, hostileBody } from '../support/hostile/mutations.ts'
import { metaChange, metaMessage, metaStatus, metaWebhook } from '../support/meta-webhooks.ts'
import { hasRedis } from '../support/redis.ts'
import {
  encodeTwilioForm,
  type TwilioForm,
  twilioMessage,
  twilioSid,
  twilioStatus,
} from '../support/twilio-webhooks.ts'

const SECOND = 1000
const HOUR = 3600 * SECOND
const FUZZ_RUNS = Number(process.env.WA_FUZZ_RUNS ?? 60)
const FUZZ_SEED = process.env.WA_FUZZ_SEED
const BODIES_PER_RUN = 8
/** Time limit for each backend, without a given number of runs: a slow machine makes fewer runs. */
const FUZZ_TIME_MS = 5 * SECOND

const BAD_ITEMS = [
  null,
  7,
  'x',
  [],
  {},
  true,
  { id: 5 },
  { id: '' },
  { id: 'x'.repeat(600) },
  { id: 'a\u0000' },
]

const marker = createMarker()

describe.skipIf(!hasRedis)('with the queue on Redis', () => describeHostility('redis'))
describe('with the queue on PostgreSQL', () => describeHostility('postgres'))

function describeHostility(backend: 'redis' | 'postgres'): void {
  let service: HostileService

  beforeAll(async () => {
    service = await startHostileService(backend)
  })

  const added = async (bodies: readonly SignedBody[]) => {
    const before = await service.takeStock()
    await expectAccountedFor(service, bodies, new Set())
    const after = await service.takeStock()
    return {
      messages: after.chat_messages - before.chat_messages,
      statuses: after.message_statuses - before.message_statuses,
      events: after.webhook_events - before.webhook_events,
    }
  }

  test('a thousand items, ten of them bad: 990 messages and ten parked, each once', async () => {
    const items = Array.from({ length: 1_000 }, (_, i) =>
      i % 100 === 50 ? BAD_ITEMS[(i - 50) / 100] : metaMessage(),
    )

    expect(await added([metaBody({ messages: items })])).toEqual({ messages: 990, statuses: 0, events: 10 })
  })

  test('the same items many times in a body, and the body many times at once: each item once', async () => {
    const items = { messages: [metaMessage(), metaMessage()], statuses: [metaStatus(), null, { a: 1 }] }
    const repeated = Object.fromEntries(
      Object.entries(items).map(([name, list]) => [name, Array(50).fill(list).flat()]),
    )

    expect(await added(Array(20).fill(metaBody(repeated)))).toEqual({ messages: 2, statuses: 1, events: 2 })
  })

  test('more items than the receiver keeps for a slow store: accepted', async () => {
    const items = Array.from({ length: 20_001 }, () => 'the same')

    // Equal content is one event.
    expect(await added([metaBody({ messages: items })])).toEqual({ messages: 0, statuses: 0, events: 1 })
  })

  test('ids that are keys of the queue or names of JavaScript: normal messages, and the queue keeps working', async () => {
    const count = RESERVED_IDS.length
    const bodies = [
      metaBody({ messages: RESERVED_IDS.map((id) => metaMessage({ id })) }),
      metaBody({ statuses: RESERVED_IDS.map((id) => metaStatus({ id })) }),
      metaBody({ statuses: RESERVED_IDS.map((status) => metaStatus({ id: 'wamid.words', status })) }),
      ...RESERVED_IDS.map((id) => twilioForm(twilioStatus('sent', { MessageSid: `${id} of Twilio` }))),
      twilioForm(twilioMessage({ MessageSid: twilioSid(4_711) })),
    ]

    expect(await added(bodies)).toEqual({ messages: count + 1, statuses: 3 * count, events: 0 })
  })

  test('ids that differ only in characters that PostgreSQL cannot store: each parked', async () => {
    const ids = ['\u0000', '\ud800', '\ud801', '\udc00'].map((character) => `wamid.${character}`)
    const messages = ids.map((id) => metaMessage({ id }))

    expect(await added([metaBody({ messages })])).toEqual({ messages: 0, statuses: 0, events: ids.length })
  })

  test(
    'mutated webhooks: every item in one row, and a second pass adds nothing',
    async () => {
      // The tests before this one have stored messages with these ids.
      const knownIds = new Set(RESERVED_IDS.map((id) => JSON.stringify(id)))
      let lastRun = Promise.resolve()
      const property = fc.asyncProperty(
        fc.array(anyCase, { minLength: 1, maxLength: BODIES_PER_RUN }),
        async (cases) => {
          const bodies = cases.map((testCase) => hostileBody(testCase, marker))
          lastRun = expectAccountedFor(service, bodies, knownIds)
          await lastRun
        },
      )
      await fc.assert(property, {
        numRuns: FUZZ_RUNS,
        ...(FUZZ_SEED === undefined ? {} : { seed: Number(FUZZ_SEED) }),
        ...(process.env.WA_FUZZ_RUNS === undefined ? { interruptAfterTimeLimit: FUZZ_TIME_MS } : {}),
      })
      // At the time limit fast-check goes on without it, and the next test would count what it stores.
      await lastRun
    },
    HOUR,
  )

  test('afterwards the totals and changes agree with the rows', async () => {
    const { rows } = await service.database.pool.query(`
      SELECT (SELECT count(*) FROM webhook_events WHERE reason IS NOT NULL)::int AS parked,
        (SELECT count(*) FROM webhook_events WHERE reason IS NULL)::int
          + (SELECT count(*) FROM chat_messages)::int + (SELECT count(*) FROM message_statuses)::int AS stored,
        (SELECT count(*) FROM chat_messages)::int AS messages,
        (SELECT count(*) FROM changes WHERE kind = 'message.created')::int AS created,
        (SELECT count(DISTINCT message_id) FROM changes WHERE kind = 'message.created')::int AS distinct_created`)
    const [{ parked, stored, messages, created, distinct_created }] = rows

    expect(await readStats(service.database.db)).toMatchObject({ parked, stored })
    expect([created, distinct_created]).toEqual([messages, messages])
  })

  test('afterwards both processes run, no error was logged, and no job is left', async () => {
    await service.settle()
    await service.expectUnharmed()
  })
}

/** `knownIds`: JSON texts of the ids in earlier bodies; the function adds the ids of these bodies. */
async function expectAccountedFor(
  service: HostileService,
  bodies: readonly (SignedBody & Partial<HostileBody>)[],
  knownIds: Set<string>,
): Promise<void> {
  const ok = bodies.map(() => 200)
  expect(await service.sendAll(bodies)).toEqual(ok)
  await service.settle()
  await expectEveryMarkOnce(service, bodies, knownIds)

  await service.forgetCompletedJobs()
  const before = await service.takeStock()
  expect(await service.sendAll(bodies)).toEqual(ok)
  await service.settle()
  expect(await service.takeStock()).toEqual(before)
}

async function expectEveryMarkOnce(
  service: HostileService,
  bodies: readonly (SignedBody & Partial<HostileBody>)[],
  knownIds: Set<string>,
): Promise<void> {
  const findings = await service.findMarks()
  const found = (mark: string) => findings.get(mark) ?? { rows: 0, bodies: 0 }
  const ids = new Map(bodies.flatMap((body) => [...(body.ids ?? [])]))
  const stored = [...ids].filter(([mark]) => found(mark).rows > 0).flatMap(([, own]) => own)
  // A second message with an id is a duplicate, whatever its content is; which one is second is a race.
  const taken = new Set([...knownIds, ...stored])
  for (const { bytes } of bodies) {
    for (const [mark, places] of marksIn(bytes)) {
      const { rows, bodies: kept } = found(mark)
      const isDuplicate = ids.get(mark)?.some((id) => taken.has(id)) ?? false
      const isLost = rows + kept === 0 && !isDuplicate
      const isDoubled = rows > places || kept > 1
      if (isLost || isDoubled)
        throw new Error(`${mark} is in ${rows} rows and ${kept} bodies: ${excerpt(bytes)}`)
    }
  }
  for (const id of [...ids.values()].flat()) knownIds.add(id)
}

function excerpt(bytes: Buffer): string {
  return bytes.toString().slice(0, 3_000)
}

function metaBody(value: Record<string, unknown>): SignedBody {
  return { format: 'meta', bytes: Buffer.from(JSON.stringify(metaWebhook([metaChange(value)]))) }
}

function twilioForm(form: TwilioForm): SignedBody {
  return { format: 'twilio-form', bytes: encodeTwilioForm(form) }
}
