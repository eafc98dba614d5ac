/**
 * The consumer of the queue `outbound`. A job is a notification: a message or a read receipt waits in this conversation.
 *
 * A job sends the waiting messages of its conversation, oldest first, until none can be claimed. A message that backs off,
 * is being sent, or waits for its circuit breaker gets its next notification from the sweep. Only the rows decide what is
 * sent and how often, so a job can be lost, doubled or late without harm.
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
  /** A file was copied to the provider, or could not be. */
  onCopy(report: CopyReport): void
  /** A message failed without a call, because it cannot be sent as it is. */
  onUnsendable(messageId: string, code: number | string): void
  /** The result of a call cannot be stored. The worker tries again for some minutes. */
  onUnrecorded(err: unknown, messageId: string): void
  /** The queue pauses because the database is away; once for each pause. */
  onPause(err: unknown, pauseMs: number): void
  /** A job ended with an error; the sweep notifies again. */
  onFailed(err: Error, jobId: string | undefined): void
}

export type SendWorkerDeps = {
  backend: QueueBackend
  db: Kysely<Database>
  senders: Senders
  findMissingCredential: FindMissingCredential
  /** The folder of uploaded files. */
  uploadFolder: string
  concurrency: number
  observer: SendWorkerObserver
  /** Aborts when the process is to stop: nothing is claimed from here on. */
  stop: AbortSignal
  /** Of a call that sends; SEND_CALL.timeoutMs unless given. */
  callTimeoutMs?: number
  /** Of copying one file; PROVIDER_COPY.timeoutMs unless given. */
  copyTimeoutMs?: number
}

export type SendWorker = {
  run(): Promise<void>
  /**
   * Waits until the deadline for the calls under way. Shortly before it aborts those that are left, and stores them as
   * `unknown`; where that fails too, the sweep of another worker does it.
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
      // Set again, in case Redis has evicted the job's options: BullMQ would ignore a notification under the id of a failed job.
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

  /** Without the database's rows no job can do anything, so the queue pauses. */
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

/** Returns a function that sends what waits in the conversation of a message. @throws when the database is away. */
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
