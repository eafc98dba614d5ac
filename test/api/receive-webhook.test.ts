/** The receiver while its stores do not answer. test/e2e tests it with real processes. */
import { describe, expect, test } from 'vitest'
import { createReceiveWebhook, type ReceiveResult } from '../../src/api/receive-webhook.ts'
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

/** Each call receives a webhook with many messages. The stores accept everything and confirm nothing. */
function createStuckReceiver(): () => Promise<ReceiveResult> {
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  cleanUp(() => release())
  let direct = 0
  const receive = createReceiveWebhook({
    queue: createInboundProducer({
      addInbound: () => released.then(() => ({ dropped: Promise.resolve(0) })),
      timeoutMs: MINUTE,
    }),
    isQueueFull: () => false,
    direct: {
      store: (jobs) => {
        direct += jobs.length
        return released.then(() => true)
      },
      pending: () => direct,
    },
    queueCircuit: createCircuit({ coolDownMs: MINUTE }),
    directCircuit: createCircuit({ coolDownMs: MINUTE }),
    observer: { onWebhook: () => {}, onCircuit: () => {} },
    directTimeoutMs: MINUTE,
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
