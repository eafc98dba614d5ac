/** Tells the provider what has been read here: best effort, with growing waits, and given up in the end. */
import type { Kysely } from 'kysely'
import { findDueReceipt, postponeReceipt, recordReceiptResult } from '../db/outbox/read-receipts.ts'
import type { Database } from '../db/schema.ts'
import type { Senders } from '../providers/index.ts'

const CALL_TIMEOUT_MS = 10_000
const FIRST_DELAY_MS = 5_000
/** The waits add up to about five hours. */
const MAX_ATTEMPTS = 12

/** Nothing happens where no receipt of the conversation is due. @throws when the database is away. */
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
  const result = await markRead(receipt, AbortSignal.any([stop, AbortSignal.timeout(CALL_TIMEOUT_MS)]))
  if (result.kind === 'done') return recordReceiptResult(db, receipt)
  if (result.kind === 'failed' || receipt.attempts + 1 >= MAX_ATTEMPTS)
    return recordReceiptResult(db, receipt, result.error)
  return postponeReceipt(db, receipt, FIRST_DELAY_MS * 2 ** receipt.attempts)
}
