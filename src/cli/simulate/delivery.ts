/**
 * Sending a run's webhooks, with Meta's patience: whatever is not answered with 200 is sent again, with growing pauses.
 *
 * The first webhook goes alone, so that a wrong address or secret is one line and not thousands. The last one goes
 * alone as well: behind it in the service's queue is nothing.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer, Poster } from './post.ts'
import { refusalError, unreachableError } from './refusal.ts'
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

export type Delivery = {
  /** Requests, all of them. */
  sent: number
  /** Of these: sent again although acknowledged, as Meta does by mistake. */
  redeliveries: number
  /** Of these: sent again because they had been refused. */
  retries: number
  acknowledged: number
  /** Answered with anything but 200, or not at all. */
  refused: number
  durationMs: number
  ackP50Ms: number
  ackP99Ms: number
  wasSent(webhook: number): boolean
  wasAcknowledged(webhook: number): boolean
}

const UNSENT = 0
const SENT = 1
const ACKNOWLEDGED = 2

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000
/** The histogram's unit is the microsecond; its range has to end somewhere. */
const LONGEST_ANSWER_US = 60_000_000

type Tally = Pick<Delivery, 'sent' | 'redeliveries' | 'retries' | 'acknowledged' | 'refused'> & {
  states: Uint8Array
  answerUs: RecordableHistogram
  lastAcknowledgedAt: number
  /** The service has been away for as long as a webhook is sent again. */
  hasGivenUp: boolean
}

/**
 * Sends everything, unless the service stops answering for `timeoutMs`: then the rest is left unsent.
 * @throws Error with one line when the first webhook finds nobody, or when any is refused for good (401, 404 …); the
 * signal's reason when it aborts.
 */
export async function deliver(settings: DeliverySettings): Promise<Delivery> {
  const { traffic, signal } = settings
  const tally: Tally = {
    ...{ sent: 0, redeliveries: 0, retries: 0, acknowledged: 0, refused: 0 },
    states: new Uint8Array(traffic.webhookCount),
    answerUs: createHistogram({ lowest: 1, highest: LONGEST_ANSWER_US, figures: 3 }),
    lastAcknowledgedAt: 0,
    hasGivenUp: false,
  }
  const startedAt = performance.now()
  const closeOnAbort = () => settings.poster.close()
  signal.addEventListener('abort', closeOnAbort)
  try {
    await sendAll(settings, tally, startedAt)
  } finally {
    signal.removeEventListener('abort', closeOnAbort)
  }
  const { states, answerUs, lastAcknowledgedAt, hasGivenUp, ...counts } = tally
  return {
    ...counts,
    durationMs: performance.now() - startedAt,
    ackP50Ms: answerUs.percentile(50) / 1_000,
    ackP99Ms: answerUs.percentile(99) / 1_000,
    wasSent: (webhook) => states[webhook] !== UNSENT,
    wasAcknowledged: (webhook) => states[webhook] === ACKNOWLEDGED,
  }
}

async function sendAll(settings: DeliverySettings, tally: Tally, startedAt: number): Promise<void> {
  const { traffic, concurrency, rate, onProgress } = settings
  const failure = new AbortController()
  const signal = AbortSignal.any([settings.signal, failure.signal])
  let done = 0
  const send = async (position: number) => {
    if (rate !== undefined) await pause(startedAt + (position * 1_000) / rate - performance.now(), signal)
    await sendUntilAcknowledged({ ...settings, signal }, tally, position)
    onProgress(++done, tally.refused)
  }

  let next = 1
  const last = traffic.deliveryCount - 1
  const runSlot = async () => {
    try {
      while (next < last && !tally.hasGivenUp) await send(next++)
    } catch (err) {
      failure.abort(err)
      throw err
    }
  }
  await send(0)
  const slots = await Promise.allSettled(Array.from({ length: Math.min(concurrency, last) }, runSlot))
  settings.signal.throwIfAborted()
  if (failure.signal.aborted) throw failure.signal.reason
  const failed = slots.find((slot) => slot.status === 'rejected')
  if (failed) throw failed.reason
  if (last > 0 && !tally.hasGivenUp) await send(last)
}

async function sendUntilAcknowledged(
  settings: DeliverySettings,
  tally: Tally,
  position: number,
): Promise<void> {
  const { traffic, timeoutMs, signal } = settings
  const { webhook, isRedelivery } = traffic.deliveryAt(position)
  const body = traffic.body(webhook)
  const firstSentAt = performance.now()
  if (isRedelivery) tally.redeliveries++
  if (tally.states[webhook] === UNSENT) tally.states[webhook] = SENT

  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted()
    if (attempt > 0) tally.retries++
    const answer = await sendOnce(settings, tally, body)
    if (isAcknowledgement(answer)) {
      tally.states[webhook] = ACKNOWLEDGED
      return
    }
    signal.throwIfAborted()
    throwIfHopeless(settings, answer, position)
    if (performance.now() - firstSentAt >= timeoutMs) {
      tally.hasGivenUp ||= tally.lastAcknowledgedAt < firstSentAt
      return
    }
    await pause(pauseMs(attempt), signal)
  }
}

async function sendOnce({ poster }: DeliverySettings, tally: Tally, body: Buffer): Promise<Answer> {
  const sentAt = performance.now()
  tally.sent++
  const answer = await poster.post(body)
  if (!isAcknowledgement(answer)) {
    tally.refused++
    return answer
  }
  tally.acknowledged++
  tally.lastAcknowledgedAt = performance.now()
  const answerUs = Math.round((tally.lastAcknowledgedAt - sentAt) * 1_000)
  tally.answerUs.record(Math.min(Math.max(answerUs, 1), LONGEST_ANSWER_US))
  return answer
}

function throwIfHopeless({ url }: DeliverySettings, answer: Answer, position: number): void {
  if ('error' in answer && position === 0) throw unreachableError(url, answer.error)
  const refusal = 'status' in answer ? refusalError(url, answer.status) : undefined
  if (refusal) throw refusal
}

function isAcknowledgement(answer: Answer): boolean {
  return 'status' in answer && answer.status === 200
}

/** Doubling, and spread by half of it, so that the webhooks of one moment do not come back in one moment. */
function pauseMs(attempt: number): number {
  const ms = Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS)
  return ms * (0.5 + Math.random() / 2)
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal })
}
