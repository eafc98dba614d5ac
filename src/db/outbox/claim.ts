/**
 * Claims the next message to send: one at a time per conversation, the oldest first, under the lock of the conversation.
 *
 * While a message is being sent or backs off, the later ones wait. A failed message, one whose outcome is unknown, and one that
 * waits for the id of another (linked-message.ts) block none. The row says `sending`, committed, before the provider is called: so a worker that finds a row in `sending` knows
 * that there may have been a call, and makes no second one.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import { parseExact } from '../../core/json-text.ts'
import type { OutboundMessage, SendError } from '../../core/outbound.ts'
import { announce } from '../announce.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { SQLSTATE } from '../errors.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import { type BreakerState, type Call, checkBreaker, startTrial } from './circuit-breaker.ts'
import type { StoredRequest } from './create.ts'
import {
  AWAITS_REACTION_TARGET,
  AWAITS_REPLY_TARGET,
  awaitLinkedMessage,
  awaitsLinkedMessage,
  findLinkedMessage,
  type LinkedMessage,
} from './linked-message.ts'
import { attachProviderCopy, claimProviderCopy } from './provider-copies.ts'
import { takeToken } from './rate-limiter.ts'
import { findRecipient } from './recipient.ts'

/**
 * A message for this worker alone. `attempt` tells this claim from later claims of the same message; `trial` is that of a
 * half-open circuit breaker, or null.
 */
export type Claim = { message: OutboundMessage; attempt: number; trial: string | null }

/** The claim as circuit breakers see it. */
export function callOf({ message, trial }: Claim): Call {
  const { provider, business_number, message_id } = message
  return { provider, business_number, message_id, trial }
}

/**
 * - `claimed`: call the provider and record the result
 * - `needs_copy`: the provider wants the file of the oldest message first: `claimCopy`
 * - `unsendable`: the oldest message cannot be sent and has failed; claim again
 * - `idle`: nothing waits in this conversation
 * - `waiting`: the oldest message is being sent, or backs off
 * - `paused`: the circuit breaker of the sender is open
 * - `limited`: the rate of the number is used up; claim again in `waitMs`
 */
export type ClaimOutcome =
  | { kind: 'claimed'; claim: Claim }
  | Unsendable
  | { kind: 'needs_copy' | 'idle' | 'waiting' | 'paused' }
  | { kind: 'limited'; waitMs: number }

type Unsendable = { kind: 'unsendable'; message_id: string; error: SendError }

/**
 * - `copy`: copy the file of the claimed message, which is still queued; record the result, and claim the message
 * - `ready`: the oldest message needs no copy any more; claim it
 * - `busy`: another worker copies the file
 */
export type CopyClaimOutcome =
  | { kind: 'copy'; claim: Claim }
  | Unsendable
  | { kind: 'ready' | 'busy' | 'idle' | 'waiting' | 'paused' }

/** Claims the oldest message that waits in the conversation of this message. `copiesTo`: providers that want copies. */
export async function claimNext(
  db: Kysely<Database>,
  messageId: string,
  copiesTo: readonly string[] = [],
): Promise<ClaimOutcome> {
  return retryConflicts(() => db.transaction().execute((trx) => claimInTransaction(trx, messageId, copiesTo)))
}

/** Claims the copying of the file of the oldest message that waits in the conversation of this message. */
export async function claimCopy(
  db: Kysely<Database>,
  messageId: string,
  copiesTo: readonly string[],
): Promise<CopyClaimOutcome> {
  return retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      const next = await findSendable(trx, messageId, copiesTo)
      if (next.kind === 'ready') return { kind: 'ready' }
      if (next.kind !== 'needs_copy') return next
      const { message, attempt, breaker } = next
      if (!(await claimProviderCopy(trx, message))) return { kind: 'busy' }
      const trial = breaker === 'half_open' ? await startTrial(trx, message) : null
      return { kind: 'copy', claim: { message, attempt, trial } }
    }),
  )
}

async function claimInTransaction(
  trx: Transaction<Database>,
  messageId: string,
  copiesTo: readonly string[],
): Promise<ClaimOutcome> {
  const next = await findSendable(trx, messageId, copiesTo)
  if (next.kind === 'needs_copy') return { kind: 'needs_copy' }
  if (next.kind !== 'ready') return next
  const { message, breaker } = next
  const waitMs = await takeToken(trx, message)
  if (waitMs !== undefined) return { kind: 'limited', waitMs }
  const attempt = await markSending(trx, message)
  const trial = breaker === 'half_open' ? await startTrial(trx, message) : null
  return { kind: 'claimed', claim: { message, attempt, trial } }
}

type Sendable = { message: OutboundMessage; attempt: number; breaker: BreakerState }

/** The oldest message that waits, when it may be sent or needs a copy of its file first. */
async function findSendable(
  trx: Transaction<Database>,
  messageId: string,
  copiesTo: readonly string[],
): Promise<
  | ({ kind: 'ready' } & Sendable)
  | ({ kind: 'needs_copy' } & Sendable)
  | Unsendable
  | { kind: 'idle' | 'waiting' | 'paused' }
> {
  await lockMergesShared(trx)
  const conversation = await lockConversation(trx, messageId)
  const head = conversation === undefined ? undefined : await findHead(trx, conversation.id)
  if (conversation === undefined || head === undefined) return { kind: 'idle' }
  if (head.is_blocked) return { kind: 'waiting' }
  const breaker = await checkBreaker(trx, conversation, head.id)
  if (breaker === 'open') return { kind: 'paused' }
  const described = await describe(trx, conversation, head)
  if ('error' in described) return failUnsendable(trx, head.id, described.error)
  if ('awaits' in described) {
    if (!(await awaitLinkedMessage(trx, head.id, described.awaits))) throw new ClaimLostError()
    return findSendable(trx, messageId, copiesTo)
  }
  const upload = await attachProviderCopy(trx, described, copiesTo)
  if (upload.kind === 'gone') return failUnsendable(trx, head.id, UPLOAD_GONE)
  return { kind: upload.kind, message: upload.message, attempt: head.send_attempts, breaker }
}

type Conversation = { id: string; provider: ProviderName; business_number: string; contact_id: string }

async function lockConversation(
  trx: Transaction<Database>,
  messageId: string,
): Promise<Conversation | undefined> {
  const { rows } = await sql<Conversation>`
    SELECT c.id, c.provider, c.business_number, c.contact_id
    FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.id = ${messageId} FOR NO KEY UPDATE OF c`.execute(trx)
  return rows[0]
}

type Head = {
  id: string
  /** A message is being sent, or the oldest one backs off. */
  is_blocked: boolean
  send_attempts: number
  callback_id: string
  /** JSON text of a StoredRequest: pg would round its large numbers. */
  request: string
  reply_to_wa_message_id: string | null
  target_wa_message_id: string | null
}

/** A message in `sending` comes first. Read after the lock, so that it sees what the last holder committed. */
async function findHead(trx: Transaction<Database>, conversationId: string): Promise<Head | undefined> {
  const { rows } = await sql<Head>`
    SELECT id, send_attempts, callback_id, request::text AS request, reply_to_wa_message_id, target_wa_message_id,
      status = 'sending' OR coalesce(not_before > clock_timestamp(), false) AS is_blocked
    FROM chat_messages
    WHERE conversation_id = ${conversationId} AND source = 'api' AND wa_message_id IS NULL
      AND status IN ('queued', 'sending') AND NOT ${awaitsLinkedMessage()}
    ORDER BY status = 'sending' DESC, id LIMIT 1`.execute(trx)
  return rows[0]
}

async function describe(
  trx: Transaction<Database>,
  conversation: Conversation,
  head: Head,
): Promise<OutboundMessage | { error: SendError } | { awaits: SendError }> {
  const { content, to, reply_to_message_id } = parseExact(head.request) as StoredRequest
  const recipient = await findRecipient(trx, conversation.contact_id, to)
  if (recipient === undefined)
    return unsendable('no_recipient', 'the contact has neither a phone number nor a user id to send to')
  const reply = await findTarget(trx, head, head.reply_to_wa_message_id, reply_to_message_id)
  if (reply.kind === 'pending') return { awaits: AWAITS_REPLY_TARGET }
  if (reply.kind === 'none')
    return unsendable('no_reply_target', 'the message that this one answers has not reached the provider')
  const targetId = content.type === 'reaction' ? content.reaction.message_id : undefined
  const target = await findTarget(trx, head, head.target_wa_message_id, targetId)
  if (target.kind === 'pending') return { awaits: AWAITS_REACTION_TARGET }
  if (target.kind === 'none')
    return unsendable(
      'no_reaction_target',
      'the message that this one reacts to has not reached the provider',
    )
  return {
    message_id: head.id,
    provider: conversation.provider,
    business_number: conversation.business_number,
    recipient,
    callback_id: head.callback_id,
    content,
    ...(reply.kind === 'identified' ? { reply_to_wa_message_id: reply.wa_message_id } : {}),
    ...(target.kind === 'identified' ? { target_wa_message_id: target.wa_message_id } : {}),
  }
}

const UPLOAD_GONE: SendError = {
  code: 'upload_gone',
  message: 'the uploaded file was removed: upload it again',
}

function unsendable(code: string, message: string): { error: SendError } {
  return { error: { code, message } }
}

/** `known`: the provider's id when the answer was created. `not_linked`: it answers nothing. */
async function findTarget(
  trx: Transaction<Database>,
  head: Head,
  known: string | null,
  messageId: string | undefined,
): Promise<LinkedMessage | { kind: 'not_linked' }> {
  if (known !== null) return { kind: 'identified', wa_message_id: known }
  return messageId === undefined ? { kind: 'not_linked' } : findLinkedMessage(trx, messageId, head.id)
}

/**
 * Keeps the recipient as `sent_to`: reconciliation searches for it, and a contact may change its number. Does not wait for the
 * row: who has locked it may wait for a batch that wants the conversation (ingest/merge-messages.ts).
 */
async function markSending(trx: Transaction<Database>, message: OutboundMessage): Promise<number> {
  const { message_id, recipient, reply_to_wa_message_id, target_wa_message_id } = message
  const { rows } = await sql<{ send_attempts: number }>`
    WITH free AS MATERIALIZED (
      SELECT id FROM chat_messages WHERE id = ${message_id} FOR NO KEY UPDATE SKIP LOCKED
    ), claimed AS (
      UPDATE chat_messages SET status = 'sending', sending_since = clock_timestamp(),
        send_attempts = send_attempts + 1, updated_at = now(),
        request = request || jsonb_build_object('sent_to', ${JSON.stringify(recipient)}::jsonb),
        reply_to_wa_message_id = ${reply_to_wa_message_id ?? null}, target_wa_message_id = ${target_wa_message_id ?? null}
      WHERE id = (SELECT id FROM free) AND status = 'queued' AND wa_message_id IS NULL
      RETURNING id, conversation_id, send_attempts
    ), announced AS (${announce('message.status', 'claimed')})
    SELECT send_attempts FROM claimed`.execute(trx)
  const [row] = rows
  if (row === undefined) throw new ClaimLostError()
  return row.send_attempts
}

/** A status of an earlier attempt has changed the row meanwhile, or is about to. */
class ClaimLostError extends Error {
  override name = 'ClaimLostError'
  /** SQLSTATE of a serialization failure: the transaction runs again. */
  code = SQLSTATE.SERIALIZATION_FAILURE
}

/** Does not wait for the row, for the reason that `markSending` gives. */
async function failUnsendable(
  trx: Transaction<Database>,
  messageId: string,
  error: SendError,
): Promise<Unsendable> {
  const { rows } = await sql`
    WITH free AS MATERIALIZED (
      SELECT id FROM chat_messages WHERE id = ${messageId} FOR NO KEY UPDATE SKIP LOCKED
    ), failed AS (
      UPDATE chat_messages SET status = 'failed', error = ${JSON.stringify([error])}::jsonb, updated_at = now()
      WHERE id = (SELECT id FROM free) AND status = 'queued' AND wa_message_id IS NULL RETURNING id, conversation_id
    ), announced AS (${announce('message.status', 'failed')})
    SELECT id FROM failed`.execute(trx)
  if (rows.length === 0) throw new ClaimLostError()
  return { kind: 'unsendable', message_id: messageId, error }
}
