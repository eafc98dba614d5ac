/**
 * Meta, as the service sees it: webhooks come at their own pace, whatever the answers; what is not answered with 200 is
 * sent again with growing pauses, and some of what was answered with 200 is sent again all the same.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createPoster, type Poster } from '../../src/cli/simulate/post.ts'
import type { Random } from '../../src/cli/simulate/random.ts'
import { APP_SECRET } from '../world/world.ts'
import type { Ledger } from './ledger.ts'
import type { Stream, StreamWebhook } from './stream.ts'

export type LoadOptions = {
  stream: Stream
  ledger: Ledger
  /** Base URLs of the receivers; requests go to them in turn, as through a load balancer. */
  urls: readonly string[]
  /** Webhooks a second, redeliveries not counted. */
  rate: number
  /** Of the pauses between the tries. */
  random: Random
  signal: AbortSignal
}

export type Load = {
  setRate(webhooksPerSecond: number): void
  /** No webhook is sent for the first time until `resume`. */
  pause(): void
  resume(): void
  /** Sends these at the same instant, once each, and until they are acknowledged. */
  burst(webhooks: readonly StreamWebhook[]): Promise<void>
  /** Sends every webhook of the run again, as Meta would after days. Resolves when all are acknowledged again. */
  redeliverAll(): Promise<void>
  /** How many were sent for the first time. */
  webhooks(): number
  /**
   * Stops sending, and waits until everything sent is acknowledged.
   * @returns how many webhooks were not within `timeoutMs`.
   */
  settle(timeoutMs: number): Promise<number>
}

const CONNECTIONS = 512
/** Meta waits longer between its tries; the order of things is the same. */
const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 2_000
const TICK_MS = 10
const REDELIVERIES_AT_A_TIME = 32

export function startLoad(options: LoadOptions): Load {
  const { stream, ledger, random, signal } = options
  const posters = options.urls.map((url) =>
    createPoster(new URL('/webhooks/meta', url), APP_SECRET, CONNECTIONS),
  )
  const stopping = new AbortController()
  const ended = AbortSignal.any([signal, stopping.signal])
  const underWay = new Set<Promise<void>>()
  let isPaused = false
  let rate = options.rate
  let next = 0
  let requests = 0
  let unsettled = 0

  const posterInTurn = () => posters[requests++ % posters.length] as Poster

  async function deliver(webhook: StreamWebhook, kind: 'first' | 'redelivery'): Promise<void> {
    if (kind === 'first') ledger.recordSent(webhook.events)
    unsettled++
    for (let attempt = 0; !ended.aborted; attempt++) {
      const sentAt = performance.now()
      const answer = await posterInTurn().post(webhook.body)
      ledger.recordRequest(attempt > 0 ? 'retry' : kind, answer, performance.now() - sentAt)
      if ('status' in answer && answer.status === 200) {
        ledger.recordAcknowledged(webhook.events, sentAt)
        unsettled--
        return
      }
      const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS)
      await pauseUnlessEnded(pauseMs * (0.5 + random.next() / 2))
    }
  }

  async function deliverAgain(webhook: StreamWebhook, afterMs: number): Promise<void> {
    await pauseUnlessEnded(afterMs)
    await deliver(webhook, 'redelivery')
  }

  function track(work: Promise<void>): Promise<void> {
    underWay.add(work)
    void work.finally(() => underWay.delete(work))
    return work
  }

  async function sendWhole(webhook: StreamWebhook): Promise<void> {
    await deliver(webhook, 'first')
    for (const afterMs of webhook.redeliveredAfterMs) void track(deliverAgain(webhook, afterMs))
  }

  async function pauseUnlessEnded(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: ended }).catch(() => {})
  }

  let isSending = true
  async function sendAtPace(): Promise<void> {
    let due = 0
    let lastAt = performance.now()
    while (isSending && !ended.aborted) {
      const now = performance.now()
      // Behind by more than a second, the generator was not scheduled: what it missed is not made up for in one burst.
      if (!isPaused) due = Math.min(due + ((now - lastAt) * rate) / 1_000, Math.max(rate, 1))
      lastAt = now
      for (; due >= 1; due--) void track(sendWhole(stream.webhook(next++)))
      await pauseUnlessEnded(TICK_MS)
    }
  }
  const sending = sendAtPace()

  return {
    setRate: (webhooksPerSecond) => {
      rate = webhooksPerSecond
    },
    pause: () => {
      isPaused = true
    },
    resume: () => {
      isPaused = false
    },
    burst: async (webhooks) => {
      await Promise.all(webhooks.map((webhook) => track(sendWhole(webhook))))
    },
    redeliverAll: async () => {
      let number = 0
      const total = next
      const slots = Array.from({ length: REDELIVERIES_AT_A_TIME }, async () => {
        while (number < total && !ended.aborted) await track(deliver(stream.webhook(number++), 'redelivery'))
      })
      await Promise.all(slots)
    },
    webhooks: () => next,
    settle: async (timeoutMs) => {
      isSending = false
      await sending
      const deadline = performance.now() + timeoutMs
      while (underWay.size > 0 && performance.now() < deadline && !signal.aborted) {
        await Promise.race([Promise.all(underWay), sleep(100)])
      }
      stopping.abort()
      for (const poster of posters) poster.close()
      await Promise.allSettled(underWay)
      return unsettled
    },
  }
}
