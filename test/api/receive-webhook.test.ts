/** The receiver while its stores do not answer. test/e2e tests it with real processes. */
import { describe, expect, test } from 'vitest'
import { createReceiveWebhook, type ReceiveResult, type ReceiverDeps } from '../../src/api/receive-webhook.ts'
import { createCircuit } from '../../src/core/circuit.ts'
import { createInboundProducer } from '../../src/queue/inbound-producer.ts'
import { cleanUp } from '../support/clean-up.ts'
import { META_APP_SECRET, metaHeaders, metaMessage, metaMessagesWebhook } from '../support/meta-webhooks.ts'
import { providerWith } from '../support/providers.ts'

const MINUTE = 60_000
const EVENTS_A_WEBHOOK = 1_000
/** The first webhooks after which more than 20,000 events wait. */
const WEBHOOKS_TO_FILL_A_STORE = 21

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
          return !isAway
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

/** Each call receives a webhook with many messages. The stores accept everything and confirm nothing. */
function createStuckReceiver(): () => Promise<ReceiveResult> {
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  cleanUp(() => release())
  let direct = 0
  return createReceiver({
    queue: createInboundProducer({
      addInbound: () => released.then(() => ({ dropped: Promise.resolve(0) })),
      timeoutMs: MINUTE,
    }),
    direct: {
      store: (jobs) => {
        direct += jobs.length
        return released.then(() => true)
      },
      pending: () => direct,
    },
    queueCircuit: createCircuit({ coolDownMs: MINUTE }),
    directCircuit: createCircuit({ coolDownMs: MINUTE }),
    directTimeoutMs: MINUTE,
  })
}

type ReceiverOptions = Omit<ReceiverDeps, 'isQueueFull' | 'observer'>

/** Each call is a webhook with many messages. */
function createReceiver(options: ReceiverOptions): () => Promise<ReceiveResult> {
  const receive = createReceiveWebhook({
    isQueueFull: () => false,
    observer: { onWebhook: () => {}, onCircuit: () => {} },
    ...options,
  })
  const meta = providerWith('meta', { META_APP_SECRET })
  return () => {
    const messages = Array.from({ length: EVENTS_A_WEBHOOK }, () => metaMessage())
    const rawBody = Buffer.from(JSON.stringify(metaMessagesWebhook(messages)))
    return receive(meta, {
      rawBody,
      headers: metaHeaders(rawBody),
      url: '/webhooks/meta',
      received_at: Date.now(),
    })
  }
}

/** Waits only for promises, and for no timer or store. */
async function atOnce(result: Promise<ReceiveResult>): Promise<ReceiveResult | 'waits'> {
  const turns = async () => {
    for (let count = 0; count < 10; count++) await new Promise((resolve) => setImmediate(resolve))
    return 'waits' as const
  }
  return Promise.race([result, turns()])
}
