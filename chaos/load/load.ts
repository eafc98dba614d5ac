/**
 * Sends webhooks as Meta does: at their own pace, whatever the answers. A webhook that is not answered with 200 is sent
 * again with growing pauses, and some acknowledged webhooks are sent again by mistake.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createPoster, type Poster } from '../../src/cli/simulate/post.ts'
import type { Random } from '../../src/cli/simulate/random.ts'
import {
  createPace,
  pause,
  sendAtPace,
  sendInSlots,
  sendUntilAcknowledged,
} from '../../src/cli/simulate/sender.ts'
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
  /** Decides the pauses between two tries. */
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
  finish(timeoutMs: number): Promise<number>
}

const CONNECTIONS = 512
/** Shorter than Meta's pauses, so that a scenario takes seconds. */
const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 2_000
/** A generator that was not scheduled for longer than this does not make up for it in one burst. */
const LONGEST_DELAY_MS = 1_000
const REDELIVERIES_AT_A_TIME = 32

export function startLoad(options: LoadOptions): Load {
  const { stream, ledger, random, signal } = options
  const posters = options.urls.map((url) =>
    createPoster(new URL('/webhooks/meta', url), APP_SECRET, CONNECTIONS),
  )
  const stopping = new AbortController()
  const ended = AbortSignal.any([signal, stopping.signal])
  const pace = createPace(options.rate, LONGEST_DELAY_MS)
  const underWay = new Set<Promise<void>>()
  let isPaused = false
  let next = 0
  let requests = 0
  let unacknowledged = 0

  const posterInTurn = () => posters[requests++ % posters.length] as Poster

  async function deliver(webhook: StreamWebhook, kind: 'first' | 'redelivery'): Promise<void> {
    if (kind === 'first') ledger.recordSent(webhook.events)
    unacknowledged++
    const sentAt = await sendUntilAcknowledged(
      () => posterInTurn().post(webhook.body),
      kind,
      ledger.requests,
      {
        ...{ firstPauseMs: FIRST_PAUSE_MS, longestPauseMs: LONGEST_PAUSE_MS },
        ...{ random: random.next, signal: ended },
      },
    )
    if (sentAt === undefined) return
    ledger.recordAcknowledged(webhook.events, sentAt)
    unacknowledged--
  }

  async function deliverAgain(webhook: StreamWebhook, afterMs: number): Promise<void> {
    await pause(afterMs, ended)
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

  let isSending = true
  const sending = sendAtPace(pace, ended, () => {
    if (isSending && !isPaused) void track(sendWhole(stream.webhook(next++)))
    return isSending
  })

  return {
    setRate: pace.setRate,
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
      await sendInSlots(REDELIVERIES_AT_A_TIME, () => {
        const isOver = number >= total || ended.aborted
        return isOver ? undefined : track(deliver(stream.webhook(number++), 'redelivery'))
      })
    },
    webhooks: () => next,
    finish: async (timeoutMs) => {
      isSending = false
      await sending
      const deadline = performance.now() + timeoutMs
      while (underWay.size > 0 && performance.now() < deadline && !signal.aborted) {
        await Promise.race([Promise.all(underWay), sleep(100)])
      }
      stopping.abort()
      for (const poster of posters) poster.close()
      await Promise.allSettled(underWay)
      return unacknowledged
    },
  }
}
