/**
 * Matches entries of a provider's list with in-doubt sends, for the back-fill. An entry that may be such a send is not
 * stored as a message of its own. When it is the only match, the send gets its id; otherwise it is held back, because people
 * already see the send as "may have been sent".
 */
import type { Kysely } from 'kysely'
import type { ProviderName } from '../core/event.ts'
import { identifiersOf } from '../db/contacts/identifiers.ts'
import type { EventStore } from '../db/ingest/event-store.ts'
import { findMatchableSends, type MatchableSend } from '../db/outbox/in-doubt-sends.ts'
import type { Database } from '../db/schema.ts'
import type { ListedMessage } from '../providers/message-history.ts'
import type { Sender } from '../providers/sender.ts'
import { findSentMessage, reconciledStatus } from './reconciliation.ts'

export type MatchDeps = {
  db: Kysely<Database>
  store: EventStore
  provider: ProviderName
  sender: Sender
  /** Only count. */
  isDryRun: boolean
}

export type MatchedEntries = {
  /** Entries that match no in-doubt send: to be stored. */
  others: ListedMessage[]
  /** Entries whose send now has their id. */
  identified: number
  /** Entries that may be a send, and are not certain to be. */
  heldBack: number
}

/**
 * Between the claim (the database's clock) and the entry (the provider's clock). Far more than the clocks differ by; a
 * process that was suspended between claim and call does not call.
 */
const TOLERANCE_MS = 15 * 60_000

/** `entries`: those that are not stored yet. */
export async function matchInDoubtSends(
  deps: MatchDeps,
  entries: readonly ListedMessage[],
  signal: AbortSignal,
): Promise<MatchedEntries> {
  const sent = entries.filter(({ direction }) => direction === 'outbound')
  const matched: MatchedEntries = { others: [], identified: 0, heldBack: 0 }
  const sends = await findSendsAround(deps, sent)
  const found = new Map<MatchableSend, Promise<string | undefined>>()
  for (const entry of entries) {
    const candidates = sends.filter((send) => mayBe(entry, send))
    if (candidates.length === 0) {
      matched.others.push(entry)
      continue
    }
    for (const send of candidates) if (!found.has(send)) found.set(send, identifySend(deps, send, signal))
    const ids = await Promise.all(candidates.map((send) => found.get(send)))
    if (ids.includes(entry.wa_message_id)) matched.identified++
    else matched.heldBack++
  }
  return matched
}

async function findSendsAround(
  { db, provider }: MatchDeps,
  entries: readonly ListedMessage[],
): Promise<MatchableSend[]> {
  if (entries.length === 0) return []
  const times = entries.map(({ created_at }) => created_at.getTime())
  return findMatchableSends(db, provider, {
    after: new Date(Math.min(...times) - TOLERANCE_MS),
    before: new Date(Math.max(...times) + TOLERANCE_MS),
  })
}

/** Whether nothing in the entry contradicts that it is the send. A template's text cannot: the provider writes it. */
function mayBe(entry: ListedMessage, send: MatchableSend): boolean {
  if (entry.direction !== 'outbound') return false
  const isFromSame = [entry.business_number, entry.service].includes(send.business_number)
  const isToSame = identifiersOf(entry.contact).some(({ value }) => isRecipient(send, value))
  const isClose = Math.abs(entry.created_at.getTime() - send.sending_since.getTime()) <= TOLERANCE_MS
  if (!isFromSame || !isToSame || !isClose) return false
  if (send.is_template) return true
  return send.has_file === entry.files > 0 && isSameText(send.text, entry.text ?? '')
}

function isRecipient({ identifiers, recipient }: MatchableSend, value: string): boolean {
  return identifiers.includes(value) || identifiersOf(sentTo(recipient)).some((own) => own.value === value)
}

function sentTo({ phone, user_id }: MatchableSend['recipient']) {
  return { ...(phone === undefined ? {} : { phone }), ...(user_id === undefined ? {} : { user_id }) }
}

/** A provider may trim spaces. */
function isSameText(one: string, other: string): boolean {
  const normal = (text: string) => text.replace(/\s+/g, ' ').trim()
  return normal(one) === normal(other)
}

/**
 * Looks this send up in the provider's list. Returns the provider's id, now the send's too, when exactly one entry
 * matches.
 */
async function identifySend(
  { db, store, provider, sender, isDryRun }: MatchDeps,
  send: MatchableSend,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (isDryRun || !send.can_be_reconciled) return undefined
  const sent = await findSentMessage(db, sender, send, signal)
  if (sent === undefined) return undefined
  const result = await store.store(
    reconciledStatus({ provider, jobIds: sender.jobIds }, send, sent, Date.now()),
  )
  if (result.outcome === 'retry') throw result.cause
  return sent.wa_message_id
}
