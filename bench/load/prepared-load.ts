/**
 * The requests of a workload, written to files for the load generator, and what the database is to hold after them.
 *
 * A file has several stretches one after the other: one to warm up with, and one for each part of the measurement. The
 * ids of different stretches never meet.
 */
import { signLikeMeta } from '../../src/cli/simulate/meta-webhook.ts'
import { createTraffic, type EventKey, type Traffic } from '../../src/cli/simulate/traffic.ts'
import type { Workload } from '../workloads.ts'
import { writeRequestFiles } from './request-files.ts'
import type { LoadResult } from './send-load.ts'

export type Stretch = {
  /** Its positions are from here to before `to`. */
  from: number
  to: number
  /** The events that were acknowledged. */
  acknowledged(result: Pick<LoadResult, 'sent' | 'refused'>): Acknowledged
  /** The messages of the business that its statuses are about. */
  sentMessageIds(): string[]
}

export type Acknowledged = {
  /** Events of redelivered webhooks count again. */
  events: number
  /** Each event counts once. */
  count: number
  /** Keys of the last `last` events in the order of sending, or of all. Slow: not for use while something is measured. */
  keys(last?: number): EventKey[]
}

export type PrepareOptions = {
  workload: Workload
  path: string
  appSecret: string
  /** How many events each stretch has. */
  events: readonly number[]
  /** Two loads of different editions have no id in common. */
  edition: number
}

/** Customers who write. Most of them have a conversation after the warm-up. */
const PEOPLE = 2_000
/** As they are sent, about: all of them within minutes, as in a busy time. */
const MESSAGES_PER_SECOND = 2_000
const STATUSES_PER_MESSAGE = 3
const MAX_STRETCHES = 16

export function prepareLoad({ workload, path, appSecret, events, edition }: PrepareOptions): Stretch[] {
  const traffics = events.map((count, index) =>
    trafficOf(workload, count, edition * MAX_STRETCHES + index + 1),
  )
  const bodies = traffics.flatMap((traffic) =>
    Array.from({ length: traffic.webhookCount }, (_, webhook) => ({ traffic, webhook })),
  )
  const firstRequests = startsOf(traffics.map(({ webhookCount }) => webhookCount))
  const order = traffics.flatMap((traffic, index) =>
    Array.from(
      { length: traffic.deliveryCount },
      (_, position) => (firstRequests[index] ?? 0) + traffic.deliveryAt(position).webhook,
    ),
  )
  writeRequestFiles(path, bodies.length, Uint32Array.from(order), (request) => {
    const { traffic, webhook } = bodies[request]!
    return renderRequest(traffic.body(webhook), appSecret)
  })
  const firstPositions = startsOf(traffics.map(({ deliveryCount }) => deliveryCount))
  return traffics.map((traffic, index) => stretchOf(traffic, firstPositions[index] ?? 0))
}

function trafficOf(workload: Workload, events: number, number: number): Traffic {
  // A message of ours has three statuses, so their number is a multiple of it.
  const statuses = Math.round((events * workload.statusShare) / STATUSES_PER_MESSAGE) * STATUSES_PER_MESSAGE
  return createTraffic({
    messages: events - statuses,
    statuses,
    batch: workload.batch,
    redeliveries: workload.redeliveries,
    imageShare: 0,
    conversations: PEOPLE,
    seed: number,
    run: number.toString(16).padStart(8, '0'),
    startedAt: Date.now(),
    messagesPerSecond: MESSAGES_PER_SECOND,
  })
}

function stretchOf(traffic: Traffic, from: number): Stretch {
  return {
    from,
    to: from + traffic.deliveryCount,
    acknowledged: ({ sent, refused }) => {
      const isRefused = new Set(refused)
      const webhooks = new Set<number>()
      let events = 0
      for (let position = 0; position < sent; position++) {
        if (isRefused.has(from + position)) continue
        const { webhook } = traffic.deliveryAt(position)
        events += traffic.eventsOf(webhook).length
        webhooks.add(webhook)
      }
      const numbers = [...webhooks].flatMap((webhook) => [...traffic.eventsOf(webhook)])
      return {
        events,
        count: numbers.length,
        keys: (last = numbers.length) => numbers.slice(-last).map(traffic.key),
      }
    },
    sentMessageIds: () => {
      const keys = Array.from({ length: traffic.eventCount }, (_, event) => traffic.key(event))
      return [...new Set(keys.flatMap((key) => (key.kind === 'status' ? [key.wa_message_id] : [])))]
    },
  }
}

function startsOf(lengths: readonly number[]): number[] {
  let start = 0
  return lengths.map((length) => {
    start += length
    return start - length
  })
}

function renderRequest(body: Buffer, appSecret: string): Buffer {
  const head = [
    'POST /webhooks/meta HTTP/1.1',
    'Host: 127.0.0.1',
    'User-Agent: facebookexternalua',
    'Accept: */*',
    'Content-Type: application/json',
    `X-Hub-Signature-256: ${signLikeMeta(body, appSecret)}`,
    `Content-Length: ${body.length}`,
  ]
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body])
}
