/**
 * What a call to the provider has come to, put into the row. Every statement asks whether the row still is what was
 * claimed: a status with our callback_id may have been faster, and the sweep may have given the call up.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { SendError, SendResult } from '../../core/outbound.ts'
import { announce } from '../announce.ts'
import { identifyMessage } from '../ingest/merge-messages.ts'
import { applyStatuses } from '../ingest/statuses.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import { closeBreaker, openBreaker } from './circuit-breaker.ts'
import type { Claim } from './claim.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** Meta on its pair limit: "retry after 4^X seconds", X from 0 on; this is after the seventh. */
const MAX_CONVERSATION_DELAY_MS = HOUR
const CONVERSATION_DELAY_FACTOR = 4
const MAX_SENDER_DELAY_MS = HOUR
/** A provider that cannot be reached is tried again soon after it is back. */
const MAX_PROVIDER_DELAY_MS = 5 * MINUTE
/** Trying a refused token more often than this would only look like an attack. */
const STOPPED_DELAY_MS = MINUTE

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
  await closeBreaker(db, message, message.message_id)
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
  await closeBreaker(db, claim.message, claim.message.message_id)
  return (
    (await changeStatus(db, claim, { from: ['sending', 'unknown'], to: 'failed', error })) ?? 'superseded'
  )
}

/**
 * Back to the queue, explicitly. What the sweep gave up meanwhile has failed instead: somebody may have seen "may have
 * been sent" and have sent it again.
 */
export async function recordNotSent(
  trx: Transaction<Database>,
  claim: Claim,
  result: SendResult & { kind: 'not_sent' | 'stop_sender' },
  credentialDigest: string,
  from: readonly string[] = ['sending'],
): Promise<SendOutcome> {
  const { error } = result
  const isOwn = result.kind === 'not_sent' && result.scope === 'conversation'
  if (!isOwn) await openBreakerFor(trx, claim, result, credentialDigest)
  const to = 'queued'
  const moved = await changeStatus(trx, claim, {
    from,
    to,
    error,
    ...(isOwn ? { backOffMs: result.delayMs } : {}),
  })
  return moved ?? (await changeStatus(trx, claim, { from: ['unknown'], to: 'failed', error })) ?? 'superseded'
}

async function openBreakerFor(
  trx: Transaction<Database>,
  { message }: Claim,
  result: SendResult & { kind: 'not_sent' | 'stop_sender' },
  credentialDigest: string,
): Promise<void> {
  const { provider, message_id: messageId } = message
  const { error } = result
  if (result.kind === 'stop_sender') {
    const limits = { delayMs: STOPPED_DELAY_MS, maxDelayMs: MAX_SENDER_DELAY_MS }
    await openBreaker(trx, { ...message, messageId, ...limits, error, credentialDigest })
  } else if (result.scope === 'provider') {
    const limits = { delayMs: result.delayMs, maxDelayMs: Math.max(MAX_PROVIDER_DELAY_MS, result.delayMs) }
    await openBreaker(trx, { provider, business_number: '', messageId, ...limits, error })
  } else {
    const limits = { delayMs: result.delayMs, maxDelayMs: MAX_SENDER_DELAY_MS }
    await openBreaker(trx, { ...message, messageId, ...limits, error })
  }
}

type StatusChange = {
  from: readonly string[]
  to: 'queued' | 'failed' | 'unknown'
  error: SendError
  /** The first wait of this message alone; it grows with every one in a row. */
  backOffMs?: number
}

/** Undefined: the row is no longer what was claimed. */
export async function changeStatus(
  db: Kysely<Database> | Transaction<Database>,
  { message, attempt }: Claim,
  { from, to, error, backOffMs }: StatusChange,
): Promise<SendOutcome | undefined> {
  const { rows } = await sql`
    WITH moved AS (
      UPDATE chat_messages SET status = ${to}, error = ${JSON.stringify([error])}::jsonb, updated_at = now(),
        send_backoffs = CASE WHEN ${backOffMs !== undefined} THEN send_backoffs + 1 ELSE 0 END,
        not_before = CASE WHEN ${backOffMs !== undefined} THEN clock_timestamp() + interval '1 millisecond'
          * least(${MAX_CONVERSATION_DELAY_MS}::float8,
            ${backOffMs ?? 0}::float8 * power(${CONVERSATION_DELAY_FACTOR}::float8, least(20, send_backoffs))) END
      WHERE id = ${message.message_id} AND send_attempts = ${attempt} AND status = ANY(${from}::text[])
        AND wa_message_id IS NULL
      RETURNING id, conversation_id
    ), announced AS (${announce('message.status', 'moved')})
    SELECT id FROM moved`.execute(db)
  return rows.length > 0 ? to : undefined
}
