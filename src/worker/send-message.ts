/** One send: calls the provider and records the result. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { SendResult } from '../core/outbound.ts'
import { RECORD_RESULT, SEND_CALL } from '../core/send-policy.ts'
import type { SendOutcome } from '../db/outbox/change-status.ts'
import type { Claim } from '../db/outbox/claim.ts'
import { discardCopy } from '../db/outbox/provider-copies.ts'
import { recordSendResult } from '../db/outbox/record-result.ts'
import type { Database } from '../db/schema.ts'
import type { FindMissingCredential, Senders } from '../providers/index.ts'

export type SendDeps = {
  db: Kysely<Database>
  senders: Senders
  /** Names the setting that a provider without a sender needs. */
  findMissingCredential: FindMissingCredential
  /** Aborts the calls under way when the process has to end. */
  cutOff: AbortSignal
  callTimeoutMs?: number | undefined
  /** The result cannot be stored. Called for each try that failed. */
  onUnrecorded(err: unknown, messageId: string): void
}

export type SendReport = {
  message_id: string
  provider: string
  attempt: number
  result: SendResult['kind']
  outcome: SendOutcome
  code?: number | string
  durationMs: number
}

/**
 * `claimedAt`: performance.now() before the claim. @throws when the result could not be stored within
 * RECORD_RESULT.timeoutMs.
 */
export async function sendMessage(deps: SendDeps, claim: Claim, claimedAt: number): Promise<SendReport> {
  const { message, attempt } = claim
  const startedAt = performance.now()
  const result = await call(deps, claim, claimedAt)
  const outcome = await recordResult(deps, claim, result)
  if (result.kind === 'failed') await discardCopy(deps.db, message)
  return {
    message_id: message.message_id,
    provider: message.provider,
    attempt,
    result: result.kind,
    outcome,
    ...('error' in result ? { code: result.error.code } : {}),
    durationMs: performance.now() - startedAt,
  }
}

async function call(
  { senders, findMissingCredential, cutOff, callTimeoutMs = SEND_CALL.timeoutMs }: SendDeps,
  { message }: Claim,
  claimedAt: number,
): Promise<SendResult> {
  const sender = senders[message.provider]
  if (sender === undefined)
    return { kind: 'stop_sender', error: notConfigured(message.provider, findMissingCredential) }
  if (cutOff.aborted || performance.now() - claimedAt > SEND_CALL.maxClaimAgeMs) return NOT_CALLED
  const result = await sender.send(message, AbortSignal.any([cutOff, AbortSignal.timeout(callTimeoutMs)]))
  return result.kind === 'unknown' && cutOff.aborted ? { ...result, isCutOff: true } : result
}

/** Tries for minutes: until the result is stored, only this process knows it. */
async function recordResult(
  { db, senders, onUnrecorded }: SendDeps,
  claim: Claim,
  result: SendResult,
): Promise<SendOutcome> {
  const { message } = claim
  const credentialDigest = senders[message.provider]?.credentialDigest ?? ''
  const giveUpAt = performance.now() + RECORD_RESULT.timeoutMs
  for (let attempt = 1; ; attempt++) {
    try {
      return await recordSendResult(db, claim, result, credentialDigest)
    } catch (err) {
      onUnrecorded(err, message.message_id)
      if (performance.now() > giveUpAt) throw err
      const { firstDelayMs, factor, maxDelayMs } = RECORD_RESULT
      await delay(Math.min(maxDelayMs, firstDelayMs * factor ** (attempt - 1)))
    }
  }
}

const NOT_CALLED: SendResult = {
  kind: 'not_sent',
  reason: 'not_called',
  error: { code: 'not_called', message: 'the worker did not come to the call' },
}

function notConfigured(provider: string, findMissingCredential: FindMissingCredential) {
  const missing = findMissingCredential(provider)
  const message =
    missing === undefined
      ? `messages cannot be sent through ${provider}`
      : `${missing} is not set: set it, and restart the workers`
  return { code: 'not_configured', message }
}
