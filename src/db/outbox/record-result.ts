/**
 * What a call to the provider has come to, put into the row. Every statement asks whether the row still is what was
 * claimed: a status with our callback_id may have been faster, and the sweep may have given the call up.
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

/** `superseded`: somebody else has already said what became of the message. */
export type SendOutcome = 'accepted' | 'queued' | 'failed' | 'unknown' | 'superseded'

/** `credentialDigest`: digest of what the call was made with. Safe to repeat. */
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
      return (
        (await changeStatus(db, claim, { from: ['sending'], to: 'unknown', error: result.error })) ??
        'superseded'
      )
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

/** It was the message that was refused, not the sender: whoever tried for all has got through. */
async function recordFailed(db: Kysely<Database>, claim: Claim, error: SendError): Promise<SendOutcome> {
  await closeBreaker(db, claim.message)
  return (
    (await changeStatus(db, claim, { from: ['sending', 'unknown'], to: 'failed', error })) ?? 'superseded'
  )
}

/**
 * Queues the message again and lets wait what the rule of the failure names. A message that the sweep gave up meanwhile has
 * failed instead: somebody may have read "may have been sent" and have resent it.
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
  /** Of a message that waits by itself, because of a failure that concerns its conversation alone. */
  firstDelayMs?: number
}

/** Undefined: the row is no longer what was claimed. */
export async function changeStatus(
  db: Kysely<Database> | Transaction<Database>,
  { message, attempt }: Claim,
  { from, to, error, firstDelayMs }: StatusChange,
): Promise<SendOutcome | undefined> {
  const waits = firstDelayMs !== undefined
  const notBefore = waitEnd(firstDelayMs ?? 0, BACK_OFF.conversation, sql`send_backoffs`)
  const { rows } = await sql`
    WITH moved AS (
      UPDATE chat_messages SET status = ${to}, error = ${JSON.stringify([error])}::jsonb, updated_at = now(),
        send_backoffs = CASE WHEN ${waits} THEN send_backoffs + 1 ELSE 0 END,
        not_before = CASE WHEN ${waits} THEN ${notBefore} END
      WHERE id = ${message.message_id} AND send_attempts = ${attempt} AND status = ANY(${from}::text[])
        AND wa_message_id IS NULL
      RETURNING id, conversation_id
    ), announced AS (${announce('message.status', 'moved')})
    SELECT id FROM moved`.execute(db)
  return rows.length > 0 ? to : undefined
}
