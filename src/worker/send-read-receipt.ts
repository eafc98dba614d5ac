/**
 * Sends a conversation's read receipt to the provider, in a group one for each message that was read. A failure is retried with
 * growing waits, then given up.
 */
import type { Kysely } from 'kysely'
import { READ_RECEIPT } from '../core/send-policy.ts'
import {
  advanceGroupReceipt,
  type DueReceipt,
  findDueReceipt,
  postponeReceipt,
  recordReceiptResult,
} from '../db/outbox/read-receipts.ts'
import type { Database } from '../db/schema.ts'
import type { Senders } from '../providers/index.ts'

export type ReceiptDeps = { db: Kysely<Database>; senders: Senders }

/** Does nothing when no receipt of the conversation is due. @throws when the database is away. */
export async function sendReadReceipt(
  deps: ReceiptDeps,
  conversationId: string,
  stop: AbortSignal,
): Promise<void> {
  for (;;) {
    const receipt = await findDueReceipt(deps.db, conversationId)
    if (receipt === undefined || !(await sendOne(deps, receipt, stop)) || stop.aborted) return
  }
}

/** Returns whether another receipt of the conversation is due now. */
async function sendOne(
  { db, senders }: ReceiptDeps,
  receipt: DueReceipt,
  stop: AbortSignal,
): Promise<boolean> {
  const markRead = senders[receipt.provider]?.markRead
  if (markRead === undefined) {
    const error = { code: 'not_configured', message: 'no sender with read receipts for this provider' }
    await recordReceiptResult(db, receipt, error)
    return false
  }
  const result = await markRead(
    receipt,
    AbortSignal.any([stop, AbortSignal.timeout(READ_RECEIPT.callTimeoutMs)]),
  )
  if (result.kind === 'retry' && receipt.attempts + 1 < READ_RECEIPT.maxAttempts) {
    await postponeReceipt(db, receipt, READ_RECEIPT.firstDelayMs * READ_RECEIPT.factor ** receipt.attempts)
    return false
  }
  // What is wrong with one message is not wrong with the next.
  if (result.kind !== 'retry' && (await advanceGroupReceipt(db, receipt))) return true
  await recordReceiptResult(db, receipt, result.kind === 'done' ? undefined : result.error)
  // More may have been read while this one was being settled.
  return result.kind !== 'retry' && advanceGroupReceipt(db, receipt)
}
