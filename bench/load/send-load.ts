/** Sends prepared requests to a receiver: in slots, one for each connection, or at a pace. */
import { isAcknowledgement } from '../../src/cli/simulate/post.ts'
import { createPace, sendAtPace, sendInSlots } from '../../src/cli/simulate/sender.ts'
import { createTally } from '../../src/cli/simulate/tally.ts'
import type { Requests } from './request-files.ts'
import { openSocketPoster } from './socket-poster.ts'

export type LoadOptions = {
  port: number
  /** Positions from here … */
  from: number
  /** … to before this one; less where the time is over earlier. */
  to: number
  connections: number
  /** Takes no new request after this long. */
  seconds?: number | undefined
  /** Paced at this rate, with as many more connections as it takes. */
  perSecond?: number | undefined
}

export type LoadResult = {
  /** So many requests were sent, from the first position on. */
  sent: number
  /** Positions that were not answered with 200, in order. */
  refused: number[]
  /** How the first of them ended. */
  firstRefusal?: string
  /** When the first request went out, in milliseconds since 1970. */
  startedAt: number
  /** From then to the last answer. */
  durationMs: number
  ackP50Ms: number
  ackP99Ms: number
  ackMaxMs: number
}

const WATCH_MS = 200
const MAX_CONNECTIONS = 1_024
/** A receiver that answers nothing for this long will not answer any more. */
const SILENCE_MS = 60_000

/** Resolves when everything that was sent is answered or given up. @throws when the receiver cannot be reached. */
export async function sendLoad(
  { port, from, to, connections, seconds, perSecond }: LoadOptions,
  requests: Requests,
  onProgress: (answered: number) => void = () => {},
): Promise<LoadResult> {
  const tally = createTally()
  const refused: number[] = []
  let firstRefusal: string | undefined
  const { promise: failed, reject: fail } = Promise.withResolvers<never>()
  failed.catch(() => {})
  const ended = new AbortController()
  const poster = await openSocketPoster({
    ...{ port, connections, onGone: fail },
    maxConnections: perSecond === undefined ? connections : MAX_CONNECTIONS,
  })
  const startedAt = performance.now()
  const endsAt = startedAt + (seconds ?? Number.POSITIVE_INFINITY) * 1_000
  let lastAnswerAt = startedAt
  let next = from

  async function post(position: number, countsFrom: number): Promise<void> {
    const answer = await poster.post(requests.at(position))
    lastAnswerAt = performance.now()
    tally.record('first', answer, lastAnswerAt - countsFrom)
    if (isAcknowledgement(answer)) return
    refused.push(position)
    firstRefusal ??= 'status' in answer ? `status ${answer.status}` : answer.error
  }

  const isOver = () => next >= to || performance.now() >= endsAt
  async function sendAll(): Promise<void> {
    if (perSecond === undefined) {
      await sendInSlots(connections, () => (isOver() ? undefined : post(next++, performance.now())))
      return
    }
    const underWay: Promise<void>[] = []
    await sendAtPace(createPace(perSecond), ended.signal, (dueAt) => {
      if (!isOver()) underWay.push(post(next++, dueAt))
      return !isOver()
    })
    await Promise.all(underWay)
  }

  const watch = setInterval(() => {
    onProgress(tally.totals().sent)
    if (performance.now() - lastAnswerAt < SILENCE_MS) return
    fail(new Error(`the receiver has not answered anything for ${SILENCE_MS / 1_000} s`))
  }, WATCH_MS)
  try {
    await Promise.race([sendAll(), failed])
  } finally {
    clearInterval(watch)
    ended.abort()
    poster.close()
  }
  const { ackP50Ms, ackP99Ms, longestAckMs } = tally.totals()
  return {
    sent: next - from,
    refused: refused.sort((a, b) => a - b),
    ...(firstRefusal === undefined ? {} : { firstRefusal }),
    startedAt: performance.timeOrigin + startedAt,
    durationMs: lastAnswerAt - startedAt,
    ...{ ackP50Ms, ackP99Ms, ackMaxMs: longestAckMs },
  }
}
