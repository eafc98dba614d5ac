/** One send: the call to the provider, and its outcome into the row. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { SendResult } from '../core/outbound.ts'
import type { Claim } from '../db/outbox/claim.ts'
import { discardCopy } from '../db/outbox/provider-copies.ts'
import { recordSendResult, type SendOutcome } from '../db/outbox/record-result.ts'
import type { Database } from '../db/schema.ts'
import type { FindMissingCredential, Senders } from '../providers/index.ts'

export type SendDeps = {
  db: Kysely<Database>
  senders: Senders
  /** For a provider without sender. */
  findMissingCredential: FindMissingCredential
  /** Aborts when a call that is under way has to end. */
  cutOff: AbortSignal
  callTimeoutMs?: number | undefined
  /** The outcome cannot be stored: tried again until it can, or the process ends. */
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

/** Longer than undici tries to connect (10 s): a connection that cannot be made is not taken for a lost answer. */
const CALL_TIMEOUT_MS = 15_000
/** A process that stood still between its claim and the call does not call any more: the sweep may have given it up. */
const MAX_CLAIM_AGE_MS = 5_000
/** An outcome that cannot be stored for so long is left to the sweep. */
const RECORD_TIMEOUT_MS = 5 * 60_000
const MAX_RECORD_DELAY_MS = 2_000

/** `claimedAt`: performance.now() before the claim. @throws when the outcome could not be stored. */
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
  { senders, findMissingCredential, cutOff, callTimeoutMs = CALL_TIMEOUT_MS }: SendDeps,
  { message }: Claim,
  claimedAt: number,
): Promise<SendResult> {
  const sender = senders[message.provider]
  if (sender === undefined)
    return { kind: 'stop_sender', error: notConfigured(message.provider, findMissingCredential) }
  if (cutOff.aborted || performance.now() - claimedAt > MAX_CLAIM_AGE_MS) return NOT_CALLED
  return sender.send(message, AbortSignal.any([cutOff, AbortSignal.timeout(callTimeoutMs)]))
}

/** Until it is stored the outcome is known only here, so this does not give up easily. */
async function recordResult(
  { db, senders, onUnrecorded }: SendDeps,
  claim: Claim,
  result: SendResult,
): Promise<SendOutcome> {
  const { message } = claim
  const credentialDigest = senders[message.provider]?.credentialDigest ?? ''
  const giveUpAt = performance.now() + RECORD_TIMEOUT_MS
  for (let attempt = 1; ; attempt++) {
    try {
      return await recordSendResult(db, claim, result, credentialDigest)
    } catch (err) {
      onUnrecorded(err, message.message_id)
      if (performance.now() > giveUpAt) throw err
      await delay(Math.min(MAX_RECORD_DELAY_MS, 100 * 2 ** Math.min(attempt, 10)))
    }
  }
}

const NOT_CALLED: SendResult = {
  kind: 'not_sent',
  scope: 'conversation',
  delayMs: 0,
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
