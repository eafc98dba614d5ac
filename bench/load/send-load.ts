/**
 * Sends requests to a receiver, in one of two ways.
 *
 * - closed: each connection sends its next request when the one before was answered; what the receiver can do at most
 * - paced: each request has its moment, whether or not those before were answered. Its latency counts from that moment,
 *   so that a receiver which stalls cannot hide the requests that it kept from being sent
 */
import { type Line, openLine } from './line.ts'
import type { Requests } from './request-files.ts'
import { createSchedule } from './schedule.ts'
import { createTally, type LoadResult } from './tally.ts'

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

const PACE_TICK_MS = 1
const WATCH_MS = 200
const MAX_CONNECTIONS = 1_024
/** A receiver that answers nothing for this long will not answer any more. */
const SILENCE_MS = 60_000

/** Resolves when everything that was sent is answered or given up. @throws when the receiver cannot be reached. */
export async function sendLoad(
  options: LoadOptions,
  requests: Requests,
  onProgress: (answered: number) => void = () => {},
): Promise<LoadResult> {
  const { port, connections, perSecond } = options
  const tally = createTally()
  const { promise: ended, resolve: end, reject: fail } = Promise.withResolvers<void>()
  const lines = new Set<Line>()
  const idle: Line[] = []
  let startedAt = Number.POSITIVE_INFINITY
  let lastAnswerAt = 0
  let isOpening = false
  let schedule = createSchedule({ ...options, startedAt })

  function pump(): void {
    const now = performance.now()
    while (idle.length > 0) {
      const due = schedule.take(now)
      if (due === undefined) break
      // The last one that came free: the others may close by themselves, and are then opened again before they are used.
      idle.pop()?.send(due.position, due.dueAt, requests.at(due.position))
    }
    // A paced request waits for nobody.
    if (perSecond !== undefined && !isOpening && lines.size < MAX_CONNECTIONS && schedule.isDue(now)) {
      addLine().catch(fail)
    }
    if (schedule.isOver(now) && tally.answered() >= schedule.taken()) end()
  }

  async function addLine(): Promise<void> {
    isOpening = true
    await openLine(port, {
      onIdle: (line) => {
        lines.add(line)
        idle.push(line)
        pump()
      },
      onClosed: (line) => {
        const place = idle.indexOf(line)
        if (place >= 0) idle.splice(place, 1)
      },
      onAnswer: (position, status, countsFrom) => {
        lastAnswerAt = performance.now()
        if (status === 200) tally.acknowledge(lastAnswerAt - countsFrom)
        else tally.refuse(position, `status ${status}`)
      },
      onLost: (position, reason) => tally.refuse(position, reason),
      onGone: fail,
    })
    isOpening = false
  }

  function watch(): void {
    onProgress(tally.answered())
    if (performance.now() - lastAnswerAt < SILENCE_MS) return
    for (const line of lines) line.close()
    fail(new Error(`the receiver has not answered anything for ${SILENCE_MS / 1_000} s`))
  }

  await Promise.all(Array.from({ length: connections }, addLine))
  startedAt = performance.now()
  lastAnswerAt = startedAt
  schedule = createSchedule({ ...options, startedAt })
  const timers = [setInterval(watch, WATCH_MS)]
  if (perSecond !== undefined) timers.push(setInterval(pump, PACE_TICK_MS))
  try {
    pump()
    await ended
  } finally {
    for (const timer of timers) clearInterval(timer)
    for (const line of lines) line.close()
  }
  return tally.result({
    sent: schedule.taken(),
    startedAt: performance.timeOrigin + startedAt,
    durationMs: lastAnswerAt - startedAt,
  })
}
