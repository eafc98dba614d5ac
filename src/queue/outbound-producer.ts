/**
 * Rings for messages and receipts that wait in PostgreSQL. The rows are the orders; a job only says that there is one, so
 * a ring that is lost costs a moment (the sweep rings again), and one too many costs a look.
 */
import type { Queue } from 'bullmq'
import { withDeadline } from '../core/deadline.ts'
import { readReceiptJobId, sendJobId } from '../core/job-id.ts'

export const OUTBOUND_JOB_VERSION = 1 as const

/** What a job on the queue `outbound` holds. */
export type OutboundJob =
  | { v: typeof OUTBOUND_JOB_VERSION; kind: 'send'; message_id: string }
  | { v: typeof OUTBOUND_JOB_VERSION; kind: 'receipt'; conversation_id: string }

export type OutboundProducer = {
  /** @throws when the queue does not confirm in time: nothing is lost by that, the sweep rings again. */
  ring(orders: { messageIds?: readonly string[]; receiptsOf?: readonly string[] }): Promise<void>
}

const TIMEOUT_MS = 1_000

export function createOutboundProducer({ queue }: { queue: Queue }): OutboundProducer {
  return {
    ring: async ({ messageIds = [], receiptsOf = [] }) => {
      const jobs: OutboundJob[] = [
        ...messageIds.map((message_id) => ({ v: OUTBOUND_JOB_VERSION, kind: 'send' as const, message_id })),
        ...receiptsOf.map((conversation_id) => ({
          v: OUTBOUND_JOB_VERSION,
          kind: 'receipt' as const,
          conversation_id,
        })),
      ]
      if (jobs.length === 0) return
      await withDeadline(queue.addBulk(jobs.map(bulkEntry)), TIMEOUT_MS, 'ringing for a message')
    },
  }
}

/** Removed however it ends: a job that stayed would make the next ring for the same message go unheard. */
function bulkEntry(job: OutboundJob) {
  const jobId = job.kind === 'send' ? sendJobId(job.message_id) : readReceiptJobId(job.conversation_id)
  return { name: job.kind, data: job, opts: { jobId, removeOnComplete: true, removeOnFail: true } }
}
