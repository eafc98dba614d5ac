/**
 * The consumer of the queue `outbound`: a job is a ring for a conversation that has something to send.
 *
 * It sends what waits there, oldest first, until nothing does, and leaves the rest to others: what is being sent elsewhere,
 * backs off or is stopped gets its ring from the sweep. So a job can be lost, doubled or late without harm; what is sent,
 * and how often, only the rows decide.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Job, Worker } from 'bullmq'
import type { Kysely } from 'kysely'
import { CUT_OFF_RESERVE_MS, DATABASE_AWAY_PAUSE_MS, PROVIDER_COPY, RATE_LIMIT } from '../core/send-policy.ts'
import { isUnavailable } from '../db/errors.ts'
import { type Claim, claimNext } from '../db/outbox/claim.ts'
import type { Database } from '../db/schema.ts'
import type { FindMissingCredential, Senders } from '../providers/index.ts'
import type { QueueBackend } from '../queue/backend.ts'
import { OUTBOUND_JOB_VERSION, type OutboundJob } from '../queue/outbound-producer.ts'
import { type CopyReport, copyToProvider } from './copy-to-provider.ts'
import { type SendReport, sendMessage } from './send-message.ts'
import { sendReadReceipt } from './send-read-receipt.ts'

export type SendWorkerObserver = {
  onSend(report: SendReport): void
  /** The file of a message was given to the provider, or not. */
  onCopy(report: CopyReport): void
  /** A message that cannot be sent as it is, and was not tried. */
  onUnsendable(messageId: string, code: number | string): void
  /** The outcome of a call cannot be stored: tried again until it can, or the process ends. */
  onUnrecorded(err: unknown, messageId: string): void
  /** Once for each pause, with what stands in the way. */
  onPause(err: unknown, pauseMs: number): void
  /** A job that ended with an error; the sweep rings again. */
  onFailed(err: Error, jobId: string | undefined): void
}

export type SendWorkerDeps = {
  backend: QueueBackend
  db: Kysely<Database>
  senders: Senders
  findMissingCredential: FindMissingCredential
  /** Where uploaded files are. */
  uploadFolder: string
  concurrency: number
  observer: SendWorkerObserver
  /** Aborts when the process is to stop: nothing is claimed from here on. */
  stop: AbortSignal
  /** A call that takes longer ends as unknown. */
  callTimeoutMs?: number
  /** A file that takes longer to its provider is tried again. */
  copyTimeoutMs?: number
}

export type SendWorker = {
  run(): Promise<void>
  /**
   * Waits for the calls under way until the deadline. What is cut off is `unknown`: stored in the last moment, or by the
   * sweep of another worker.
   */
  close(deadlineMs: number): Promise<void>
}

/** Not started: call `run()`. */
export function createSendWorker(deps: SendWorkerDeps): SendWorker {
  const { backend, observer } = deps
  const queue = backend.createQueue('outbound')
  const cutOff = new AbortController()
  const sendConversation = createConversationSender(deps, cutOff.signal)
  let pausedUntil = 0

  async function processJob(job: Job<OutboundJob>): Promise<void> {
    const { data } = job
    if (data.v !== OUTBOUND_JOB_VERSION) {
      // As it was added, unless Redis has deleted that: a failed job that stayed would make the next ring go unheard.
      job.opts.removeOnFail = true
      throw new Error(`job format version ${String(data.v)} is not known`)
    }
    if (deps.stop.aborted) return
    try {
      if (data.kind === 'send') await sendConversation(data.message_id)
      else await sendReadReceipt(deps, data.conversation_id, cutOff.signal)
    } catch (err) {
      if (!isUnavailable(err)) throw err
      await pause(err)
    }
  }

  /** Only the rows say what there is to do, so without them the queue waits. */
  async function pause(err: unknown): Promise<never> {
    if (performance.now() >= pausedUntil) {
      pausedUntil = performance.now() + DATABASE_AWAY_PAUSE_MS
      observer.onPause(err, DATABASE_AWAY_PAUSE_MS)
      await queue.rateLimit(DATABASE_AWAY_PAUSE_MS).catch(() => {})
    }
    throw Worker.RateLimitError()
  }

  const worker = backend.createWorker('outbound', processJob, { concurrency: deps.concurrency })
  worker.on('failed', (job, err) => observer.onFailed(err, job?.id))
  return {
    run: () => worker.run(),
    close: async (deadlineMs) => {
      const timer = setTimeout(
        () => cutOff.abort(new Error('the worker was stopped before the provider answered')),
        Math.max(0, deadlineMs - CUT_OFF_RESERVE_MS),
      )
      // BullMQ's close waits for ever while Redis is away (measured), hence the deadline.
      await Promise.race([worker.close(), delay(deadlineMs, undefined, { ref: false })])
      clearTimeout(timer)
    },
  }
}

/** Sends what waits in the conversation of a message. @throws when the database does not answer. */
function createConversationSender(deps: SendWorkerDeps, cutOff: AbortSignal) {
  const { db, senders, findMissingCredential, observer, stop, callTimeoutMs } = deps
  const onUnrecorded = (err: unknown, messageId: string) => observer.onUnrecorded(err, messageId)
  const copiesTo = Object.entries(senders).flatMap(([name, { copyFile }]) =>
    copyFile === undefined ? [] : [name],
  )
  let waiting = 0
  let copying = 0

  async function copy(claim: Claim): Promise<void> {
    copying++
    try {
      observer.onCopy(await copyToProvider(deps, claim))
    } finally {
      copying--
    }
  }

  async function waitForToken(ms: number): Promise<void> {
    waiting++
    await delay(ms + Math.random() * RATE_LIMIT.spreadMs, undefined, { signal: stop }).catch(() => {})
    waiting--
  }

  return async (messageId: string): Promise<void> => {
    const startedAt = performance.now()
    while (!stop.aborted) {
      const claimedAt = performance.now()
      const outcome = await claimNext(db, messageId, { copiesTo, mayCopy: copying < PROVIDER_COPY.maxAtOnce })
      switch (outcome.kind) {
        case 'claimed':
          observer.onSend(
            await sendMessage(
              { db, senders, findMissingCredential, cutOff, onUnrecorded, callTimeoutMs },
              outcome.claim,
              claimedAt,
            ),
          )
          break
        case 'copy':
          await copy(outcome.claim)
          break
        case 'unsendable':
          observer.onUnsendable(outcome.message_id, outcome.error.code)
          break
        case 'limited':
          if (waiting >= RATE_LIMIT.maxWaiting || performance.now() - startedAt > RATE_LIMIT.maxWaitMs) return
          await waitForToken(outcome.waitMs)
          break
        default:
          return
      }
    }
  }
}
