/**
 * Records the result of a call to the provider in the message's row. Every statement checks that the row is still as it was
 * claimed: a status with our callback_id may have come first, or the sweep may have made it `unknown`.
 */
import type { Kysely, Transaction } from 'kysely'
import type { SendError, SendResult } from '../../core/outbound.ts'
import { identifyMessage } from '../ingest/merge-messages.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import { changeStatus, type SendOutcome } from './change-status.ts'
import { confirmSender } from './circuit-breaker.ts'
import { type Claim, callOf } from './claim.ts'
import { recordDoubt } from './doubt-counter.ts'
import { recordNotSent } from './record-not-sent.ts'
import { takeControl } from './take-control.ts'

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
  await confirmSender(db, callOf(claim))
  const sent_at = new Date()
  const outcome = await identifyMessage(db, {
    message_id: message.message_id,
    wa_message_id,
    status: 'accepted',
    sent_at,
    isNumberChosen,
  })
  if (outcome === 'taken') {
    const error = { code: 'wa_message_id_taken', message: 'the provider named another message as this one' }
    return (await changeStatus(db, claim, { from: ['sending'], to: 'unknown', error })) ?? 'superseded'
  }
  if (outcome === 'other' || outcome === 'gone') return 'superseded'
  await takeControl(db, { message_id: message.message_id, sent_at })
  return 'accepted'
}

/** When a status came first, the message is not in doubt, and the result does not count against the provider. */
async function recordUnknown(
  trx: Transaction<Database>,
  claim: Claim,
  { error, isCutOff = false }: SendResult & { kind: 'unknown' },
): Promise<SendOutcome> {
  const outcome = await changeStatus(trx, claim, { from: ['sending'], to: 'unknown', error })
  if (outcome !== undefined && !isCutOff) await recordDoubt(trx, callOf(claim), error)
  return outcome ?? 'superseded'
}

/** The provider refused the message, not the sender, so a half-open trial has succeeded. */
async function recordFailed(db: Kysely<Database>, claim: Claim, error: SendError): Promise<SendOutcome> {
  await confirmSender(db, callOf(claim))
  return (
    (await changeStatus(db, claim, { from: ['sending', 'unknown'], to: 'failed', error })) ?? 'superseded'
  )
}
