/** The receiver while its stores do not answer. test/e2e tests it with real processes. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  createReceiveWebhook,
  type DirectResult,
  type ReceiveResult,
  type ReceiverDeps,
} from '../../src/api/receive-webhook.ts'
import { createCircuit } from '../../src/core/circuit.ts'
import type { InboundJob } from '../../src/core/event.ts'
import type { IncomingWebhook, Provider } from '../../src/providers/provider.ts'
import { createInboundProducer } from '../../src/queue/inbound-producer.ts'
import { cleanUp } from '../support/clean-up.ts'
import { META_APP_SECRET, metaHeaders, metaMessage, metaMessagesWebhook } from '../support/meta-webhooks.ts'
import { providerWith } from '../support/providers.ts'

const MINUTE = 60_000
/** After this many of createStuckReceiver's webhooks more than 20,000 events wait for a store. */
const WEBHOOKS_TO_FILL_A_STORE = 3

describe('while neither store answers', () => {
  test('a webhook is refused at once when too many events wait', async () => {
    const receive = createStuckReceiver()
    for (let count = 0; count < 2 * WEBHOOKS_TO_FILL_A_STORE; count++) void receive()

    expect(await atOnce(receive())).toBe('unavailable')
  })

  test('a webhook waits for its answer while fewer events wait', async () => {
    const receive = createStuckReceiver()
    for (let count = 0; count < 2 * WEBHOOKS_TO_FILL_A_STORE - 1; count++) void receive()

    expect(await atOnce(receive())).toBe('waits')
  })
})

describe('a store that has failed', () => {
  test('is left alone until its cool-down is over; then one webhook tries it, and the others follow', async () => {
    const clock = { now: 0 }
    const asked = { queue: 0, direct: 0 }
    let isAway = true
    const createCircuitAt = () => createCircuit({ coolDownMs: 1_000, now: () => clock.now })
    const receive = createReceiver({
      queue: {
        add: async () => {
          asked.queue++
          if (isAway) throw new Error('refused')
        },
        pending: () => 0,
      },
      direct: {
        store: async () => {
          asked.direct++
          return isAway ? 'unavailable' : 'stored'
        },
        pending: () => 0,
      },
      queueCircuit: createCircuitAt(),
      directCircuit: createCircuitAt(),
    })

    const whileAway = [await receive(), await receive(), await receive()]
    expect([whileAway, asked]).toEqual([Array(3).fill('unavailable'), { queue: 1, direct: 1 }])
    isAway = false
    expect([await receive(), asked]).toEqual(['unavailable', { queue: 1, direct: 1 }])
    clock.now = 1_000

    expect([await receive(), await receive()]).toEqual(['queued', 'queued'])
    expect(asked).toEqual({ queue: 3, direct: 1 })
  })
})

describe('what is reported', () => {
  test('is each webhook with its provider, its jobs and its result, when the answer is known', async () => {
    const { receive, reports } = createReported()
    const startedAt = performance.now()

    expect(await receive()).toBe('queued')
    expect(await receive({ 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` })).toBe('forged')

    expect(reports).toMatchObject([
      { provider: 'meta', result: 'queued', jobs: { length: 2 } },
      { provider: 'meta', result: 'forged', jobs: { length: 0 } },
    ])
    for (const { durationMs } of reports) {
      expect(durationMs).toBeGreaterThan(0)
      expect(durationMs).toBeLessThan(performance.now() - startedAt)
    }
  })

  test('is that a circuit opens, with the cause, and that it closes, once each', async () => {
    const refused = new Error('refused')
    const { receive, circuits, away, clock } = createReported()
    away.queue = refused

    expect([await receive(), await receive()]).toEqual(['stored', 'stored'])
    expect(circuits).toEqual([['queue', true, refused]])
    away.direct = true
    expect([await receive(), await receive()]).toEqual(['unavailable', 'unavailable'])
    expect(circuits.slice(1)).toEqual([['direct', true, undefined]])

    clock.now += 1_000
    away.direct = false
    // The trial of the queue fails, and that is nothing new; the database is back.
    expect([await receive(), await receive()]).toEqual(['stored', 'stored'])
    expect(circuits.slice(2)).toEqual([['direct', false]])
    clock.now += 1_000
    away.queue = undefined
    expect([await receive(), await receive()]).toEqual(['queued', 'queued'])
    expect(circuits.slice(3)).toEqual([['queue', false]])
  })

  test('is a database that does not answer in time as the cause, and not again for the next webhook', async () => {
    const { receive, circuits, away, clock } = createReported({ directTimeoutMs: 1 })
    away.queue = new Error('refused')
    away.direct = 'silent'

    expect(await receive()).toBe('unavailable')
    clock.now += 1_000
    expect(await receive()).toBe('unavailable')

    expect(circuits.filter(([name]) => name === 'direct')).toEqual([
      ['direct', true, expect.objectContaining({ message: 'storing directly took longer than 1 ms' })],
    ])
  })
})

describe('a webhook that is not signed', () => {
  test.each<[string, Record<string, string>]>([
    ['without a signature', {}],
    ['with the signature of another body', metaHeaders('another body')],
  ])('reaches no store and is not even parsed: %s', async (_what, headers) => {
    const parsed: unknown[] = []
    const { receive, asked, reports } = createReported()

    const parse = (provider: Provider) => ({
      ...provider,
      parse: (webhook: IncomingWebhook) => {
        parsed.push(webhook)
        return provider.parse(webhook)
      },
    })
    expect(await receive(headers, parse)).toBe('forged')

    expect([asked, parsed]).toEqual([{ queue: 0, direct: 0 }, []])
    expect(reports).toMatchObject([{ result: 'forged', jobs: [] }])
  })
})

describe('nothing is acknowledged', () => {
  test('before the queue has confirmed', async () => {
    const confirm = Promise.withResolvers<void>()
    const { receive, reports } = createReported({ queue: { add: () => confirm.promise, pending: () => 0 } })
    const result = receive()

    expect([await atOnce(result), reports]).toEqual(['waits', []])
    confirm.resolve()

    expect(await result).toBe('queued')
  })

  test('before the database has stored what the queue did not take', async () => {
    const confirm = Promise.withResolvers<DirectResult>()
    const { receive, reports, away } = createReported({
      direct: { store: () => confirm.promise, pending: () => 0 },
    })
    away.queue = new Error('refused')
    const result = receive()

    expect([await atOnce(result), reports]).toEqual(['waits', []])
    confirm.resolve('stored')

    expect(await result).toBe('stored')
  })

  test('that only a later answer of the database would have stored in time', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { receive, away, reports } = createReported()
    away.queue = new Error('refused')
    away.direct = 'silent'
    const result = receive()

    await vi.advanceTimersByTimeAsync(1_999)
    expect(reports).toEqual([])
    await vi.advanceTimersByTimeAsync(1)

    expect(await result).toBe('unavailable')
  })

  afterEach(() => {
    vi.useRealTimers()
  })
})

test('both stores get all events of a webhook', async () => {
  const given: (readonly InboundJob[])[] = []
  const keep = async (jobs: readonly InboundJob[]) => void given.push(jobs)
  const { receive, reports } = createReported({
    queue: {
      add: async (jobs) => {
        await keep(jobs)
        throw new Error('refused')
      },
      pending: () => 0,
    },
    direct: { store: (jobs) => keep(jobs).then(() => 'stored' as const), pending: () => 0 },
  })

  expect(await receive()).toBe('stored')

  const ids = reports[0]?.jobs.map(({ job_id }) => job_id)
  expect(ids).toHaveLength(2)
  expect(given.map((jobs) => jobs.map(({ job_id }) => job_id))).toEqual([ids, ids])
})

test('a defect of the direct path is no outage: it is thrown, and the circuit stays closed', async () => {
  const { receive, circuits, away } = createReported()
  away.queue = new Error('refused')
  away.direct = new Error('a defect')

  await expect(receive()).rejects.toThrow('a defect')
  await expect(receive()).rejects.toThrow('a defect')

  expect(circuits.map(([name]) => name)).toEqual(['queue'])
})

const isQueueFull = () => true
test.each<[string, Partial<ReceiverDeps>, { queue?: number; direct?: number }, ReceiveResult]>([
  ['the queue has room and 20,000 events wait for it', {}, { queue: 20_000 }, 'queued'],
  ['20,001 events wait for the queue', {}, { queue: 20_001 }, 'stored'],
  ['the queue is nearly full', { isQueueFull }, {}, 'stored'],
  ['20,000 events wait for the database too', { isQueueFull }, { direct: 20_000 }, 'stored'],
  ['20,001 events wait for the database too', { isQueueFull }, { direct: 20_001 }, 'unavailable'],
])('while %s', async (_what, options, pending, result) => {
  const { receive, circuits } = createReported(options, pending)

  expect(await receive()).toBe(result)

  expect(circuits).toEqual([])
})

/** A receiver whose stores the test takes away; a second of `clock` ends a cool-down. */
function createReported(
  options: Partial<ReceiverDeps> = {},
  pending: { queue?: number; direct?: number } = {},
) {
  const clock = { now: 0 }
  const away: { queue: Error | undefined; direct: boolean | 'silent' | Error } = {
    queue: undefined,
    direct: false,
  }
  const asked = { queue: 0, direct: 0 }
  const reports: Parameters<ReceiverDeps['observer']['onWebhook']>[0][] = []
  const circuits: unknown[][] = []
  const receive = createReceiver({
    queue: {
      add: async () => {
        asked.queue++
        if (away.queue) throw away.queue
      },
      pending: () => pending.queue ?? 0,
    },
    direct: {
      store: async () => {
        asked.direct++
        if (away.direct instanceof Error) throw away.direct
        if (away.direct === 'silent') return new Promise<never>(() => {})
        return away.direct ? 'unavailable' : 'stored'
      },
      pending: () => pending.direct ?? 0,
    },
    queueCircuit: createCircuit({ coolDownMs: 1_000, now: () => clock.now }),
    directCircuit: createCircuit({ coolDownMs: 1_000, now: () => clock.now }),
    observer: {
      onWebhook: (report) => void reports.push(report),
      onCircuit: (...report) => void circuits.push(report),
    },
    ...options,
  })
  return { receive, reports, circuits, away, asked, clock }
}

test('one event that the database refuses is answered 503, and other webhooks are still stored directly', async () => {
  const results = ['refused', 'stored'] as const
  let asked = 0
  const receive = createReceiver({
    queue: {
      add: async () => {
        throw new Error('refused')
      },
      pending: () => 0,
    },
    direct: { store: async () => results[asked++] ?? 'stored', pending: () => 0 },
    queueCircuit: createCircuit({ coolDownMs: MINUTE }),
    directCircuit: createCircuit({ coolDownMs: MINUTE }),
  })

  expect([await receive(), await receive()]).toEqual(['unavailable', 'stored'])
})

/** Each call receives a webhook with 7,000 messages. The stores accept everything and confirm nothing. */
function createStuckReceiver(): () => Promise<ReceiveResult> {
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  cleanUp(release)
  let direct = 0
  const deps: ReceiverOptions = {
    queue: createInboundProducer({
      addInbound: () => released.then(() => ({ dropped: Promise.resolve(0) })),
      timeoutMs: MINUTE,
    }),
    direct: {
      store: (jobs) => {
        direct += jobs.length
        return released.then(() => 'stored' as const)
      },
      pending: () => direct,
    },
    queueCircuit: createCircuit({ coolDownMs: MINUTE }),
    directCircuit: createCircuit({ coolDownMs: MINUTE }),
    directTimeoutMs: MINUTE,
  }
  const receive = createReceiver(deps, 7_000)
  // To parse each of them would take the most time of these tests.
  let jobs: InboundJob[] | undefined
  return () =>
    receive(undefined, (provider) => ({
      ...provider,
      parse: (webhook) => {
        jobs ??= provider.parse(webhook)
        return jobs
      },
    }))
}

type ReceiverOptions = Omit<ReceiverDeps, 'isQueueFull' | 'observer'> & Partial<ReceiverDeps>

/** Each call is one signed webhook with as many messages, unless other headers are given. */
function createReceiver(
  options: ReceiverOptions,
  messages = 2,
): (headers?: Record<string, string>, change?: (provider: Provider) => Provider) => Promise<ReceiveResult> {
  const receive = createReceiveWebhook({
    isQueueFull: () => false,
    observer: { onWebhook: () => {}, onCircuit: () => {} },
    ...options,
  })
  const meta = providerWith('meta', { META_APP_SECRET })
  const rawBody = Buffer.from(
    JSON.stringify(metaMessagesWebhook(Array.from({ length: messages }, () => metaMessage()))),
  )
  const signed = metaHeaders(rawBody)
  return (headers = signed, change = (provider) => provider) =>
    receive(change(meta), { rawBody, headers, url: '/webhooks/meta', received_at: Date.now() })
}

/** Waits only for promises, and for no timer or store. */
async function atOnce(result: Promise<ReceiveResult>): Promise<ReceiveResult | 'waits'> {
  const turns = async () => {
    for (let count = 0; count < 10; count++) await new Promise((resolve) => setImmediate(resolve))
    return 'waits' as const
  }
  return Promise.race([result, turns()])
}
