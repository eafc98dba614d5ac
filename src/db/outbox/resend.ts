/** Resending: a new message with the content of one that may not have arrived. Only a person may decide this. */
import { type Kysely, sql, type Transaction } from 'kysely'
import { parseExact } from '../../core/json-text.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { SQLSTATE } from '../errors.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import { type CreateOutcome, findByKey, insertOnce, type KeyOptions, type StoredRequest } from './create.ts'
import { isRowId } from './place.ts'
import { renewUpload } from './uploads.ts'

/** Statuses of messages that may not have arrived. */
const RESENDABLE = ['unknown', 'failed', 'undelivered']

/**
 * Inserts a row that points at the original (`resend_of`). A message is resent once: later requests get the first resend
 * as `existing`.
 */
export async function createResend(
  db: Kysely<Database>,
  messageId: string,
  options: KeyOptions,
): Promise<CreateOutcome> {
  return retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      await lockMergesShared(trx)
      const known = await findByKey(trx, options)
      if (known !== undefined) return known
      const original = await lockOriginal(trx, messageId)
      if (original === undefined) return { kind: 'refused', reason: 'message_not_found' }
      if (original.resent_as !== null) return { kind: 'existing', message_id: original.resent_as }
      return resendOriginal(trx, original, options)
    }),
  )
}

async function resendOriginal(
  trx: Transaction<Database>,
  original: Original,
  options: KeyOptions,
): Promise<CreateOutcome> {
  const { id, status } = original
  const request = original.request === null ? null : (parseExact(original.request) as StoredRequest)
  if (request === null || !RESENDABLE.includes(status ?? ''))
    return { kind: 'refused', reason: 'not_resendable' }
  const upload = await renewUpload(trx, request.content)
  if (upload === null) return { kind: 'refused', reason: 'upload_not_found' }
  return insertOnce(trx, { ...original, stored: request, resend_of: id }, options)
}

type Original = {
  id: string
  status: string | null
  /** JSON text: pg would round its large numbers. */
  request: string | null
  conversation_id: string
  provider: string
  reply_to_wa_message_id: string | null
  target_wa_message_id: string | null
  resent_as: string | null
}

/**
 * Locked, so that no status changes the original before the new row is there; after its conversation, which the new row
 * changes. A transaction that has locked the original may wait for one that wants the conversation: so this one does not wait.
 */
async function lockOriginal(trx: Transaction<Database>, messageId: string): Promise<Original | undefined> {
  if (!isRowId(messageId)) return undefined
  const found = await sql`
    SELECT FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    JOIN conversations v ON v.id = coalesce(c.merged_into, c.id)
    WHERE m.id = ${messageId} AND m.direction = 'outbound' FOR NO KEY UPDATE OF v`.execute(trx)
  if (found.rows.length === 0) return undefined
  const { rows } = await sql<Original>`
    SELECT m.id, m.status, m.request::text AS request, coalesce(c.merged_into, c.id) AS conversation_id, m.provider, m.reply_to_wa_message_id,
      m.target_wa_message_id, (SELECT r.id FROM chat_messages r WHERE r.resend_of = m.id) AS resent_as
    FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.id = ${messageId} FOR NO KEY UPDATE OF m SKIP LOCKED`.execute(trx)
  if (rows[0] === undefined) throw new OriginalLockedError()
  return rows[0]
}

class OriginalLockedError extends Error {
  override name = 'OriginalLockedError'
  /** The transaction runs again. */
  code = SQLSTATE.SERIALIZATION_FAILURE
}
