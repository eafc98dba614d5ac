/** Records that a message was certainly not sent: what waits now, and for how long. */
import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { SendResult } from '../../core/outbound.ts'
import {
  BACK_OFF,
  REFUSED_MESSAGE,
  RETRY_RULES,
  type RetryRule,
  STOPPED_SENDER_RULE,
} from '../../core/send-policy.ts'
import type { Database } from '../schema.ts'
import { waitEnd } from './back-off.ts'
import { changeStatus, type SendOutcome } from './change-status.ts'
import { type Call, confirmSender, openBreaker } from './circuit-breaker.ts'
import { type Claim, callOf } from './claim.ts'
import { recordRefusal } from './send-refusals.ts'

type NotSent = SendResult & { kind: 'not_sent' | 'stop_sender' }

/**
 * Queues the message again. The rule of the failure decides what waits, and for how long. `from`: the statuses that it may have.
 * A message that the sweep made `unknown` meanwhile becomes `failed` instead: a person may have resent it.
 */
export async function recordNotSent(
  trx: Transaction<Database>,
  claim: Claim,
  result: NotSent,
  credentialDigest: string,
  from: readonly string[] = ['sending'],
): Promise<SendOutcome> {
  const { error } = result
  const wait = await decideWait(trx, callOf(claim), result, credentialDigest)
  if (wait === 'never')
    return (
      (await changeStatus(trx, claim, { from: [...from, 'unknown'], to: 'failed', error })) ?? 'superseded'
    )
  const queued = await changeStatus(trx, claim, { from, to: 'queued', error, ...wait })
  return (
    queued ?? (await changeStatus(trx, claim, { from: ['unknown'], to: 'failed', error })) ?? 'superseded'
  )
}

/** Of this message alone, beside what its sender waits. `never`: it is given up. */
type Wait = { notBefore?: RawBuilder<Date>; isBackOff?: boolean } | 'never'

async function decideWait(
  trx: Transaction<Database>,
  call: Call,
  result: NotSent,
  credentialDigest: string,
): Promise<Wait> {
  const isStopped = result.kind === 'stop_sender'
  const rule: RetryRule = isStopped ? STOPPED_SENDER_RULE : RETRY_RULES[result.reason]
  if (rule.scope === 'conversation') {
    if (!isStopped && result.reason === 'recipient_rate') await confirmSender(trx, call)
    return ownWait(rule.firstDelayMs)
  }
  const breaker = { rule, error: result.error, credentialDigest: isStopped ? credentialDigest : null }
  if (!mayBeTheMessage(result)) {
    await openBreaker(trx, call, breaker)
    return {}
  }
  const refusal = await recordRefusal(trx, call, rule.scope === 'provider')
  if (refusal.reason === 'message')
    return refusal.times >= REFUSED_MESSAGE.maxTimes ? 'never' : ownWait(REFUSED_MESSAGE.firstDelayMs)
  await openBreaker(trx, call, { ...breaker, mayBeMessage: true })
  return { notBefore: afterOthers(call) }
}

/** Refusals that one message may have earned. Without credentials, or with a limit of the number, each would get them. */
function mayBeTheMessage(result: NotSent): boolean {
  return result.kind === 'stop_sender'
    ? result.error.code !== 'not_configured'
    : result.reason === 'refused_on_the_way'
}

function ownWait(firstDelayMs: number) {
  return { notBefore: waitEnd(firstDelayMs, BACK_OFF.conversation, sql`m.send_backoffs`), isBackOff: true }
}

/** SQL: a moment after the pause of the call's sender, so that another message is the next trial. */
function afterOthers({ provider, business_number }: Call): RawBuilder<Date> {
  return sql<Date>`(
    SELECT max(paused_until) + ${REFUSED_MESSAGE.afterOthersMs} * interval '1 millisecond' FROM send_pauses
    WHERE provider = ${provider} AND business_number IN ('', ${business_number})
  )`
}
