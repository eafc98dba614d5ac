/**
 * The plan of a run, made before the first request: which events share a webhook, in which order webhooks are sent, and
 * which are sent again. It holds only numbers, so that a million messages take a few megabytes.
 */
import { createRandom, deriveSeed, type Random } from './random.ts'

export type PlanSettings = {
  messages: number
  statuses: number
  /** Events in a webhook; absent: mostly one, sometimes up to 50. */
  batch?: number | undefined
  /** How often a webhook is sent again, on average: 0.3 = three of ten, once. */
  redeliveries: number
  seed: number
}

export type Plan = {
  eventCount: number
  webhookCount: number
  deliveryCount: number
  /** The events of a webhook: 0 … messages - 1 are messages, the statuses follow. */
  eventsOf(webhook: number): Uint32Array
  /** The webhook that is sent as the nth, and whether it was sent before. */
  deliveryAt(position: number): { webhook: number; isRedelivery: boolean }
}

/** Sorting packs an index into the lower bits of a double: position × 2^24 + index stays below 2^53. */
const INDEX_LIMIT = 2 ** 24
export const MAX_EVENTS = INDEX_LIMIT - 1

/** How far a status may move among its neighbours: `read` then overtakes `sent` in about half of the cases. */
const SHUFFLE_DISTANCE = 40

export function createPlan(settings: PlanSettings): Plan {
  const random = createRandom(deriveSeed(settings.seed, 2, 0))
  const order = orderEvents(settings, random)
  const starts = cutIntoWebhooks(order.length, settings.batch, random)
  const webhookCount = starts.length - 1
  const deliveries = orderDeliveries(webhookCount, settings.redeliveries, random)
  return {
    eventCount: order.length,
    webhookCount,
    deliveryCount: deliveries.length,
    eventsOf: (webhook) => order.subarray(starts[webhook], starts[webhook + 1]),
    deliveryAt(position) {
      const packed = deliveries[position] ?? 0
      return {
        webhook: packed % INDEX_LIMIT,
        isRedelivery: Math.floor(packed / INDEX_LIMIT) % 2 === 1,
      }
    },
  }
}

/** Statuses spread evenly among the messages, then everything moves a little. */
function orderEvents({ messages, statuses }: PlanSettings, random: Random): Uint32Array {
  const eventCount = messages + statuses
  const packed = new Float64Array(eventCount)
  for (let event = 0; event < eventCount; event++) {
    const isMessage = event < messages
    const share = isMessage ? event / messages : (event - messages) / statuses
    const position = Math.floor(share * eventCount) + random.integer(SHUFFLE_DISTANCE)
    packed[event] = position * INDEX_LIMIT + event
  }
  return Uint32Array.from(packed.sort(), (value) => value % INDEX_LIMIT)
}

function cutIntoWebhooks(eventCount: number, batch: number | undefined, random: Random): Uint32Array {
  const starts = [0]
  for (let next = 0; next < eventCount; ) {
    next = Math.min(eventCount, next + (batch ?? usualBatch(random)))
    starts.push(next)
  }
  return Uint32Array.from(starts)
}

/** Six of ten webhooks carry one event, three carry 2 to 10, one carries 11 to 50. */
export function usualBatch(random: Random): number {
  const dice = random.next()
  if (dice < 0.6) return 1
  return dice < 0.9 ? 2 + random.integer(9) : 11 + random.integer(40)
}

/**
 * The order of sending: every webhook once, and the redeliveries among them. The last webhook of all is a first one:
 * behind it in the queue is nothing, so once it is stored, the redeliveries are through as well.
 */
function orderDeliveries(webhookCount: number, redeliveries: number, random: Random): Float64Array {
  const packed: number[] = []
  const last = webhookCount - 1
  for (let webhook = 0; webhook < webhookCount; webhook++) {
    packed.push(2 * webhook * INDEX_LIMIT + webhook)
    if (webhook === last && webhookCount > 1) continue
    for (let times = timesAgain(redeliveries, random); times > 0; times--) {
      const position = Math.min(webhook + redeliveryDelay(last - webhook, random), Math.max(last - 1, 0))
      packed.push((2 * position + 1) * INDEX_LIMIT + webhook)
    }
  }
  return Float64Array.from(packed).sort()
}

function timesAgain(redeliveries: number, random: Random): number {
  return Math.floor(redeliveries) + (random.chance(redeliveries % 1) ? 1 : 0)
}

/** In webhooks: at the same moment, shortly after, or anywhere in what remains. */
function redeliveryDelay(remaining: number, random: Random): number {
  const dice = random.next()
  if (dice < 0.25) return 0
  return dice < 0.65 ? 1 + random.integer(100) : random.integer(remaining + 1)
}
