/**
 * The load sender of `simulate`, bench/ and chaos/: at which moments requests are sent, how many are on their way, and when
 * a refused one is sent again.
 *
 * - in slots: as many requests on their way as there are slots; what a receiver can do at most
 * - at a pace: each request has its moment, whether or not those before it were answered. Where its time counts from that
 *   moment, a receiver that stalls cannot hide the requests that it kept from being sent
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, isAcknowledgement } from './post.ts'
import type { RequestKind, Tally } from './tally.ts'

export type Pace = {
  /** Reserves the next moment, by `performance.now()`. It may have passed already. */
  next(): number
  setRate(perSecond: number): void
}

/** `longestDelayMs`: moments that passed longer ago are left out, so that they do not come in one burst. */
export function createPace(perSecond: number, longestDelayMs = Number.POSITIVE_INFINITY): Pace {
  let rate = perSecond
  let nextAt = performance.now()
  return {
    next() {
      const dueAt = Math.max(nextAt, performance.now() - longestDelayMs)
      nextAt = dueAt + 1_000 / rate
      return dueAt
    },
    setRate: (newRate) => {
      rate = newRate
    },
  }
}

/** Calls `send` at the moments of the pace until it returns false. Returns when the signal aborts. */
export async function sendAtPace(
  pace: Pace,
  signal: AbortSignal,
  send: (dueAt: number) => boolean,
): Promise<void> {
  while (!signal.aborted) {
    const dueAt = pace.next()
    await waitUntil(dueAt, signal)
    if (signal.aborted || !send(dueAt)) return
  }
}

/**
 * Calls `send` in each slot again and again, until it has nothing more to send and returns undefined.
 * @throws the first error of `send`, when no slot is at work any more.
 */
export async function sendInSlots(slots: number, send: () => Promise<unknown> | undefined): Promise<void> {
  let isStopped = false
  const run = async () => {
    try {
      for (let sent = send(); sent !== undefined; sent = isStopped ? undefined : send()) await sent
    } catch (err) {
      isStopped = true
      throw err
    }
  }
  const ends = await Promise.allSettled(Array.from({ length: slots }, run))
  const failed = ends.find((end) => end.status === 'rejected')
  if (failed) throw failed.reason
}

export type Retries = {
  firstPauseMs: number
  longestPauseMs: number
  /** From 0 to below 1. */
  random: () => number
  /** Nothing is sent again after it. */
  signal: AbortSignal
  /** Whether a request that was answered like this is sent again. */
  goesOn?: (answer: Answer) => boolean
}

/**
 * Posts a webhook until it is answered with 200, with pauses that grow. Returns the moment at which the acknowledged
 * request was sent; undefined when it was given up.
 */
export async function sendUntilAcknowledged(
  post: () => Promise<Answer>,
  kind: RequestKind,
  tally: Tally,
  { firstPauseMs, longestPauseMs, random, signal, goesOn = () => true }: Retries,
): Promise<number | undefined> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    const sentAt = performance.now()
    const answer = await post()
    tally.record(attempt === 0 ? kind : 'retry', answer, performance.now() - sentAt)
    if (isAcknowledgement(answer)) return sentAt
    if (signal.aborted || !goesOn(answer)) return undefined
    // Spread by half of the pause, so that the webhooks of one moment do not come back in one moment.
    const pauseMs = Math.min(firstPauseMs * 2 ** attempt, longestPauseMs)
    await pause(pauseMs * (0.5 + random() / 2), signal)
  }
  return undefined
}

/** Returns early when the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {})
}

/** A timer may fire a part of a millisecond early. */
export async function waitUntil(moment: number, signal: AbortSignal): Promise<void> {
  for (let ms = moment - performance.now(); ms > 0 && !signal.aborted; ms = moment - performance.now())
    await pause(Math.ceil(ms), signal)
}
