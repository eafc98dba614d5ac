/** What a send worker does after a notification: sends, copies of files, and read receipts, each kind in bulkheads of its own. */
import type { Kysely } from 'kysely'
import { readReceiptJobId, sendJobId } from '../core/job-id.ts'
import { SLOTS } from '../core/send-policy.ts'
import { isUnavailable } from '../db/errors.ts'
import type { Database } from '../db/schema.ts'
import type { FindMissingCredential, Senders } from '../providers/index.ts'
import { type BulkheadTask, createBulkheads, type Slot } from './bulkheads.ts'
import type { CopyReport } from './copy-to-provider.ts'
import {
  type ConversationDeps,
  type ConversationTask,
  copyForConversation,
  sendConversation,
} from './send-conversation.ts'
import type { SendReport } from './send-message.ts'
import { sendReadReceipt } from './send-read-receipt.ts'

export type SendObserver = {
  onSend(report: SendReport): void
  /** A file was copied to the provider, or could not be. */
  onCopy(report: CopyReport): void
  /** A message failed without a call, because it cannot be sent as it is. */
  onUnsendable(messageId: string, code: number | string): void
  /** The result of a call cannot be stored. The worker tries again for some minutes. */
  onUnrecorded(err: unknown, messageId: string): void
  /** The queue pauses because the database is away; once for each pause. */
  onPause(err: unknown, pauseMs: number): void
  /** A job or its task ended with an error; the sweep notifies again. */
  onFailed(err: Error, jobId: string | undefined): void
}

export type SendTaskDeps = {
  db: Kysely<Database>
  senders: Senders
  findMissingCredential: FindMissingCredential
  /** The folder of uploaded files. */
  uploadFolder: string
  /** Calls that send, to one provider at the same time. */
  concurrency: number
  observer: SendObserver
  /** Aborts when the process is to stop: nothing is claimed from here on. */
  stop: AbortSignal
  /** Of a call that sends; SEND_CALL.timeoutMs unless given. */
  callTimeoutMs?: number
  /** Of copying one file; PROVIDER_COPY.timeoutMs unless given. */
  copyTimeoutMs?: number
}

export type SendTasks = {
  send(task: ConversationTask): void
  sendReceipt(task: BulkheadTask): void
  /** Drops what waits, and resolves when nothing is under way. */
  close(): Promise<void>
}

type Options = {
  cutOff: AbortSignal
  /** The database is away. What waited is dropped; the sweep notifies again. */
  onUnavailable(err: unknown): Promise<void>
}

export function createSendTasks(deps: SendTaskDeps, { cutOff, onUnavailable }: Options): SendTasks {
  const { observer, concurrency } = deps
  const shared: ConversationDeps = {
    ...deps,
    cutOff,
    onUnrecorded: (err, messageId) => observer.onUnrecorded(err, messageId),
    onSend: (report) => observer.onSend(report),
    onCopy: (report) => observer.onCopy(report),
    onUnsendable: (messageId, code) => observer.onUnsendable(messageId, code),
  }

  /** A task that goes wrong is left to the sweep. */
  function reporting<Task>(jobId: (task: Task) => string, run: (task: Task, slot: Slot) => Promise<void>) {
    return (task: Task, slot: Slot): Promise<void> =>
      run(task, slot).catch((err) => reportFailure(err, jobId(task)))
  }

  async function reportFailure(err: unknown, jobId: string): Promise<void> {
    if (!isUnavailable(err))
      return observer.onFailed(err instanceof Error ? err : new Error(String(err)), jobId)
    for (const bulkheads of all) bulkheads.clear()
    await onUnavailable(err)
  }

  const jobIdOf = ({ message_id }: ConversationTask) => sendJobId(message_id)
  const sends = createBulkheads<ConversationTask>({
    ...limitSends(concurrency),
    maxWaiting: SLOTS.maxWaiting,
    run: reporting(jobIdOf, (task, slot) =>
      sendConversation({ ...shared, requestCopy: (it) => copies.offer(it) }, task, slot),
    ),
  })
  const copies = createBulkheads<ConversationTask>({
    ...SLOTS.copies,
    maxWaiting: SLOTS.maxWaiting,
    run: reporting(jobIdOf, (task) =>
      copyForConversation({ ...shared, requestSend: (it) => sends.offer(it) }, task),
    ),
  })
  const receipts = createBulkheads<BulkheadTask>({
    ...SLOTS.receipts,
    maxWaiting: SLOTS.maxWaiting,
    run: reporting(
      ({ conversation_id }) => readReceiptJobId(conversation_id),
      ({ conversation_id }) => sendReadReceipt(deps, conversation_id, cutOff),
    ),
  })
  const all = [sends, copies, receipts]

  return {
    send: (task) => {
      // Nothing of the conversation can be sent before the copy, which requests the send. Claims in vain would delay texts.
      if (!copies.has(task)) sends.offer(task)
    },
    sendReceipt: (task) => receipts.offer(task),
    close: async () => {
      for (const bulkheads of all) bulkheads.clear()
      await Promise.all(all.map((bulkheads) => bulkheads.whenIdle()))
    },
  }
}

/** At most `concurrency` calls to one provider, half of them for one sender. */
function limitSends(concurrency: number) {
  const { perSender, perProvider } = SLOTS.sends
  const capped = ({ first, most }: { first: number; most: number }, limit: number) => ({
    first: Math.min(first, limit),
    most: Math.min(most, limit),
  })
  return {
    perSender: capped(perSender, Math.ceil(concurrency / 2)),
    perProvider: capped(perProvider, concurrency),
  }
}
