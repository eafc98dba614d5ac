/**
 * Notifications on the queue `outbound`: a message or a read receipt waits in PostgreSQL. The row is the order, the job only
 * points at it. So a lost notification costs a moment, until the sweep notifies again, and a needless one costs one query.
 */
import type { Queue } from 'bullmq'
import { withDeadline } from '../core/deadline.ts'
import { readReceiptJobId, sendJobId } from '../core/job-id.ts'

export const OUTBOUND_JOB_VERSION = 1 as const

/** What a job on the queue `outbound` holds. */
export type OutboundJob =
  | { v: typeof OUTBOUND_JOB_VERSION; kind: 'send'; message_id: string }
  | { v: typeof OUTBOUND_JOB_VERSION; kind: 'receipt'; conversation_id: string }

/** Both throw when the queue does not confirm within a second. Nothing is lost then: the sweep notifies again. */
export type OutboundProducer = {
  notifySends(messageIds: readonly string[]): Promise<void>
  notifyReceipts(conversationIds: readonly string[]): Promise<void>
}

const TIMEOUT_MS = 1_000

export function createOutboundProducer({
  queue,
  timeoutMs = TIMEOUT_MS,
}: {
  queue: Queue
  timeoutMs?: number
}): OutboundProducer {
  const v = OUTBOUND_JOB_VERSION
  const add = async (jobs: readonly OutboundJob[]) => {
    if (jobs.length === 0) return
    const entries = jobs.toReversed().map(bulkEntry)
    await withDeadline(queue.addBulk(entries), timeoutMs, 'notifying the send workers')
  }
  return {
    notifySends: (messageIds) => add(messageIds.map((message_id) => ({ v, kind: 'send', message_id }))),
    notifyReceipts: (conversationIds) =>
      add(conversationIds.map((conversation_id) => ({ v, kind: 'receipt', conversation_id }))),
  }
}

/**
 * The last one added is taken first (`lifo`): so a message does not wait behind thousands of notifications that a sender left
 * while it could not send. What is sent first in a conversation is decided by the rows.
 *
 * Removed on completion and on failure: BullMQ would ignore the next notification for a message whose job is still there.
 */
function bulkEntry(job: OutboundJob) {
  const jobId = job.kind === 'send' ? sendJobId(job.message_id) : readReceiptJobId(job.conversation_id)
  return {
    name: job.kind,
    data: job,
    opts: { jobId, lifo: true, removeOnComplete: true, removeOnFail: true },
  }
}
