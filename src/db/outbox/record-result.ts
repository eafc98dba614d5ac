/**
 * Records the result of a call to the provider in the message's row. Every statement checks that the row is still as it was
 * claimed: a status with our callback_id may have come first, or the sweep may have made it `unknown`.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { SendError, SendResult } from '../../core/outbound.ts'
import { BACK_OFF, RETRY_RULES, type RetryRule, STOPPED_SENDER_RULE } from '../../core/send-policy.ts'
import { announce } from '../announce.ts'
import { identifyMessage } from '../ingest/merge-messages.ts'
import { applyStatuses } from '../ingest/statuses.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import { waitEnd } from './back-off.ts'
import { closeBreaker, openBreaker } from './circuit-breaker.ts'
import type { Claim } from './claim.ts'
import { recordDoubt } from './doubt-counter.ts'

/** The message's status afterwards. `superseded`: a status or the sweep had changed the row already. */
export type SendOutcome = 'accepted' | 'queued' | 'failed' | 'unknown' | 'superseded'

/** `credentialDigest`: of the credential that the call was made with. Safe to repeat. */
export async function recordSendResult(
  db: Kysely<Database>,
  claim: Claim,
  result: SendResult,
  credentialDigest: string,
): Promise<SendOutcome> {
  switch (result.kind) {
    case 'accepted':
      return recordAccepted(db, claim, result)
    case 'unknown':
      return retryConflicts(() => db.transaction().execute((trx) => recordUnknown(trx, claim, result)))
    case 'failed':
      return recordFailed(db, claim, result.error)
    case 'not_sent':
    case 'stop_sender':
      return retryConflicts(() =>
        db.transaction().execute((trx) => recordNotSent(trx, claim, result, credentialDigest)),
      )
  }
}

async function recordAccepted(
  db: Kysely<Database>,
  claim: Claim,
  { wa_message_id, isNumberChosen }: SendResult & { kind: 'accepted' },
): Promise<SendOutcome> {
  const { message } = claim
  await closeBreaker(db, message)
  const outcome = await identifyMessage(db, {
    message_id: message.message_id,
    wa_message_id,
    status: 'accepted',
    sent_at: new Date(),
    isNumberChosen,
  })
  if (outcome === 'taken') {
    const error = { code: 'wa_message_id_taken', message: 'the provider named another message as this one' }
    return (await changeStatus(db, claim, { from: ['sending'], to: 'unknown', error })) ?? 'superseded'
  }
  if (outcome === 'other' || outcome === 'gone') return 'superseded'
  await applyStatuses(db, [wa_message_id])
  return 'accepted'
}

/** When a status came first, the message is not in doubt, and the result does not count against the provider. */
async function recordUnknown(
  trx: Transaction<Database>,
  claim: Claim,
  { error, isCutOff = false }: SendResult & { kind: 'unknown' },
): Promise<SendOutcome> {
  const outcome = await changeStatus(trx, claim, { from: ['sending'], to: 'unknown', error })
  if (outcome !== undefined && !isCutOff) await recordDoubt(trx, claim.message, error)
  return outcome ?? 'superseded'
}

/** The provider refused the message, not the sender, so a half-open trial has succeeded. */
async function recordFailed(db: Kysely<Database>, claim: Claim, error: SendError): Promise<SendOutcome> {
  await closeBreaker(db, claim.message)
  return (
    (await changeStatus(db, claim, { from: ['sending', 'unknown'], to: 'failed', error })) ?? 'superseded'
  )
}

/**
 * Queues the message again. The rule of the failure decides what waits, and for how long. A message that the sweep made
 * `unknown` meanwhile becomes `failed` instead: a person may have resent it.
 */
export async function recordNotSent(
  trx: Transaction<Database>,
  claim: Claim,
  result: SendResult & { kind: 'not_sent' | 'stop_sender' },
  credentialDigest: string,
  from: readonly string[] = ['sending'],
): Promise<SendOutcome> {
  const { error } = result
  const isStopped = result.kind === 'stop_sender'
  const rule: RetryRule = isStopped ? STOPPED_SENDER_RULE : RETRY_RULES[result.reason]
  const isOwn = rule.scope === 'conversation'
  if (!isOwn)
    await openBreaker(trx, claim.message, {
      rule,
      error,
      credentialDigest: isStopped ? credentialDigest : null,
    })
  const back = { from, to: 'queued', error, ...(isOwn ? { firstDelayMs: rule.firstDelayMs } : {}) } as const
  const queued = await changeStatus(trx, claim, back)
  return (
    queued ?? (await changeStatus(trx, claim, { from: ['unknown'], to: 'failed', error })) ?? 'superseded'
  )
}

type StatusChange = {
  from: readonly string[]
  to: 'queued' | 'failed' | 'unknown'
  error: SendError
  /** The first wait of this message alone; absent where it does not wait, or its breaker does. */
  firstDelayMs?: number
}

/** Returns undefined when the row is no longer as it was claimed. */
export async function changeStatus(
  db: Kysely<Database> | Transaction<Database>,
  { message, attempt }: Claim,
  { from, to, error, firstDelayMs }: StatusChange,
): Promise<SendOutcome | undefined> {
  const waits = firstDelayMs !== undefined
  const notBefore = waitEnd(firstDelayMs ?? 0, BACK_OFF.conversation, sql`send_backoffs`)
  const { rows } = await sql`
    WITH updated AS (
      UPDATE chat_messages SET status = ${to}, error = ${JSON.stringify([error])}::jsonb, updated_at = now(),
        send_backoffs = CASE WHEN ${waits} THEN send_backoffs + 1 ELSE 0 END,
        not_before = CASE WHEN ${waits} THEN ${notBefore} END
      WHERE id = ${message.message_id} AND send_attempts = ${attempt} AND status = ANY(${from}::text[])
        AND wa_message_id IS NULL
      RETURNING id, conversation_id
    ), announced AS (${announce('message.status', 'updated')})
    SELECT id FROM updated`.execute(db)
  return rows.length > 0 ? to : undefined
}
