/**
 * Sends the webhooks of a run. As with Meta, a webhook that is not answered with 200 is sent again, with growing pauses.
 *
 * The first webhook goes alone, so that a wrong address or secret gives one line of error and not thousands. The last one
 * goes alone as well: nothing is behind it in the queue of the service.
 */
import type { Answer, Poster } from './post.ts'
import { refusalError, unreachableError } from './refusal.ts'
import { createPace, type Pace, sendInSlots, sendUntilAcknowledged, waitUntil } from './sender.ts'
import { createTally, type RequestTotals, type Tally } from './tally.ts'
import type { Traffic } from './traffic.ts'

export type DeliverySettings = {
  traffic: Traffic
  poster: Poster
  url: URL
  /** Webhooks on their way at a time. */
  concurrency: number
  /** Webhooks per second; absent: as fast as the answers come. */
  rate?: number | undefined
  /** A webhook is sent again for this long. */
  timeoutMs: number
  signal: AbortSignal
  onProgress: (done: number, refused: number) => void
}

export type Delivery = RequestTotals & {
  durationMs: number
  wasSent(webhook: number): boolean
  wasAcknowledged(webhook: number): boolean
}

const UNSENT = 0
const SENT = 1
const ACKNOWLEDGED = 2

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000

type Run = DeliverySettings & {
  /** Of each webhook. */
  states: Uint8Array
  tally: Tally
  pace: Pace | undefined
  lastAcknowledgedAt: number
  /** The service has been away for as long as a webhook is sent again. */
  hasGivenUp: boolean
}

/**
 * Sends everything, unless the service stops answering for `timeoutMs`: then the rest is left unsent.
 * @throws Error with one line when the first webhook gets no answer, or when any is refused for good (401, 404 …); the
 * signal's reason when it aborts.
 */
export async function deliver(settings: DeliverySettings): Promise<Delivery> {
  const { traffic, rate, signal, poster } = settings
  const failure = new AbortController()
  const run: Run = {
    ...settings,
    signal: AbortSignal.any([signal, failure.signal]),
    states: new Uint8Array(traffic.webhookCount),
    tally: createTally(),
    pace: rate === undefined ? undefined : createPace(rate),
    lastAcknowledgedAt: 0,
    hasGivenUp: false,
  }
  const startedAt = performance.now()
  const closeOnAbort = () => poster.close()
  signal.addEventListener('abort', closeOnAbort)
  try {
    await sendAll(run, failure)
  } finally {
    signal.removeEventListener('abort', closeOnAbort)
  }
  return {
    ...run.tally.totals(),
    durationMs: performance.now() - startedAt,
    wasSent: (webhook) => run.states[webhook] !== UNSENT,
    wasAcknowledged: (webhook) => run.states[webhook] === ACKNOWLEDGED,
  }
}

async function sendAll(run: Run, failure: AbortController): Promise<void> {
  const { traffic, concurrency, onProgress } = run
  let done = 0
  const send = async (position: number) => {
    if (run.pace !== undefined) await waitUntil(run.pace.next(), run.signal)
    run.signal.throwIfAborted()
    await sendOne(run, position)
    onProgress(++done, run.tally.totals().refused)
  }

  let next = 1
  const last = traffic.deliveryCount - 1
  await send(0)
  await sendInSlots(Math.min(concurrency, last), () => {
    if (next >= last || run.hasGivenUp) return undefined
    return send(next++).catch((err) => {
      // The other slots give up as well, and end with the same error.
      failure.abort(err)
      throw err
    })
  })
  if (last > 0 && !run.hasGivenUp) await send(last)
}

async function sendOne(run: Run, position: number): Promise<void> {
  const { traffic, poster, states, tally, timeoutMs, signal } = run
  const { webhook, isRedelivery } = traffic.deliveryAt(position)
  const body = traffic.body(webhook)
  const firstSentAt = performance.now()
  if (states[webhook] === UNSENT) states[webhook] = SENT
  const acknowledgedAt = await sendUntilAcknowledged(
    () => poster.post(body),
    isRedelivery ? 'redelivery' : 'first',
    tally,
    {
      ...{ firstPauseMs: FIRST_PAUSE_MS, longestPauseMs: LONGEST_PAUSE_MS, random: Math.random, signal },
      goesOn: (answer) => {
        throwIfHopeless(run, answer, position)
        return performance.now() - firstSentAt < timeoutMs
      },
    },
  )
  signal.throwIfAborted()
  if (acknowledgedAt === undefined) run.hasGivenUp ||= run.lastAcknowledgedAt < firstSentAt
  else {
    states[webhook] = ACKNOWLEDGED
    run.lastAcknowledgedAt = performance.now()
  }
}

function throwIfHopeless({ url }: Run, answer: Answer, position: number): void {
  if ('error' in answer && position === 0) throw unreachableError(url, answer.error)
  const refusal = 'status' in answer ? refusalError(url, answer.status) : undefined
  if (refusal) throw refusal
}
