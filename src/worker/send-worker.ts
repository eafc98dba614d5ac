/**
 * The consumer of the queue `outbound`. A job is a notification: a message or a read receipt waits in this conversation.
 *
 * A job ends as soon as its conversation is known: it goes to the bulkheads of its sender, which decide when it is sent. So jobs
 * never wait for a provider, and those of a sender that hangs are out of the way of the others. Only the rows decide what is
 * sent and how often: a job can be lost, doubled or late without harm. A message that backs off, is being sent, waits for its
 * circuit breaker, or is forgotten here because the process ends, gets its next notification from the sweep.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Job, Worker } from 'bullmq'
import { createBatcher } from '../core/batcher.ts'
import { CUT_OFF_RESERVE_MS, DATABASE_AWAY_PAUSE_MS } from '../core/send-policy.ts'
import { isUnavailable } from '../db/errors.ts'
import {
  findConversations,
  findConversationsOfMessages,
  type NotifiedConversation,
} from '../db/outbox/notified-conversations.ts'
import type { QueueBackend } from '../queue/backend.ts'
import { OUTBOUND_JOB_VERSION, type OutboundJob } from '../queue/outbound-producer.ts'
import { createSendTasks, type SendTaskDeps } from './send-tasks.ts'

export type SendWorkerDeps = SendTaskDeps & { backend: QueueBackend }

export type SendWorker = {
  run(): Promise<void>
  /**
   * Runs `work` while no send is under way: waits for the sends under way, and takes no notification until `work` has ended.
   * After some seconds it no longer waits, because a provider may hang or a conversation may be long.
   */
  whileQuiet<Result>(work: () => Promise<Result>): Promise<Result>
  /**
   * Waits until the deadline for the calls under way. Shortly before it aborts those that are left, and stores them as
   * `unknown`; where that fails too, the sweep of another worker does it.
   */
  close(deadlineMs: number): Promise<void>
}

/** A job takes a query, shared with the others. So few are enough, and BullMQ's fetches do not run out of time. */
const JOBS_AT_ONCE = 20

/** With the work itself well within the lease of the sweep. */
const LONGEST_WAIT_FOR_QUIET_MS = 10_000

/** Not started: call `run()`. */
export function createSendWorker(deps: SendWorkerDeps): SendWorker {
  const { backend, db, observer } = deps
  const queue = backend.createQueue('outbound')
  const cutOff = new AbortController()
  const tasks = createSendTasks(deps, { cutOff: cutOff.signal, onUnavailable: pause })
  const conversationsOfMessages = createLookup((ids) => findConversationsOfMessages(db, ids))
  const conversations = createLookup((ids) => findConversations(db, ids))
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
      await offer(data)
    } catch (err) {
      if (!isUnavailable(err)) throw err
      await pause(err)
      throw Worker.RateLimitError()
    }
  }

  async function offer(job: OutboundJob): Promise<void> {
    if (job.kind === 'receipt') {
      const conversation = await conversations.find(job.conversation_id)
      if (conversation !== undefined) tasks.sendReceipt(conversation)
      return
    }
    const conversation = await conversationsOfMessages.find(job.message_id)
    // The sweep notifies again when the breaker is half-open.
    if (conversation === undefined || conversation.is_paused) return
    tasks.send({ ...conversation, message_id: job.message_id })
  }

  /** Without the database's rows no job can do anything, so the queue pauses. */
  async function pause(err: unknown): Promise<void> {
    if (performance.now() < pausedUntil) return
    pausedUntil = performance.now() + DATABASE_AWAY_PAUSE_MS
    observer.onPause(err, DATABASE_AWAY_PAUSE_MS)
    await queue.rateLimit(DATABASE_AWAY_PAUSE_MS).catch(() => {})
  }

  const worker = backend.createWorker('outbound', processJob, { concurrency: JOBS_AT_ONCE })
  worker.on('failed', (job, err) => observer.onFailed(err, job?.id))
  return {
    run: () => worker.run(),
    whileQuiet: async (work) => {
      await Promise.race([worker.pause(), delay(LONGEST_WAIT_FOR_QUIET_MS, undefined, { ref: false })])
      try {
        return await work()
      } finally {
        await worker.resume()
      }
    },
    close: async (deadlineMs) => {
      const timer = setTimeout(
        () => cutOff.abort(new Error('the worker was stopped before the provider answered')),
        Math.max(0, deadlineMs - CUT_OFF_RESERVE_MS),
      )
      // BullMQ's close waits for ever while Redis is away (measured), hence the deadline.
      const ended = Promise.all([worker.close(), tasks.close()])
      await Promise.race([ended, delay(deadlineMs, undefined, { ref: false })])
      clearTimeout(timer)
    },
  }
}

/** Finds the conversations of the jobs of one moment with one query. */
function createLookup(findAll: (ids: readonly string[]) => Promise<Map<string, NotifiedConversation>>) {
  const batcher = createBatcher({
    maxItems: JOBS_AT_ONCE,
    maxInFlight: 2,
    run: async (ids: string[]) => {
      const found = await findAll(ids)
      return ids.map((id) => found.get(id))
    },
  })
  return { find: (id: string) => batcher.add(id) }
}
