/** Sends a conversation's read receipt to the provider. A failure is retried with growing waits, then given up. */
import type { Kysely } from 'kysely'
import { READ_RECEIPT } from '../core/send-policy.ts'
import { findDueReceipt, postponeReceipt, recordReceiptResult } from '../db/outbox/read-receipts.ts'
import type { Database } from '../db/schema.ts'
import type { Senders } from '../providers/index.ts'

/** Does nothing when no receipt of the conversation is due. @throws when the database is away. */
export async function sendReadReceipt(
  { db, senders }: { db: Kysely<Database>; senders: Senders },
  conversationId: string,
  stop: AbortSignal,
): Promise<void> {
  const receipt = await findDueReceipt(db, conversationId)
  if (receipt === undefined) return
  const markRead = senders[receipt.provider]?.markRead
  if (markRead === undefined) {
    const error = { code: 'not_configured', message: 'no sender with read receipts for this provider' }
    return recordReceiptResult(db, receipt, error)
  }
  const result = await markRead(
    receipt,
    AbortSignal.any([stop, AbortSignal.timeout(READ_RECEIPT.callTimeoutMs)]),
  )
  if (result.kind === 'done') return recordReceiptResult(db, receipt)
  if (result.kind === 'failed' || receipt.attempts + 1 >= READ_RECEIPT.maxAttempts)
    return recordReceiptResult(db, receipt, result.error)
  return postponeReceipt(db, receipt, READ_RECEIPT.firstDelayMs * READ_RECEIPT.factor ** receipt.attempts)
}
