/**
 * Reconciliation: looks in-doubt sends up in the list of a provider that keeps one (Twilio). When exactly one entry matches
 * a send, the entry is stored as a status with the send's callback_id, like one that came as a webhook. No match does not
 * prove that the message was not sent, and several matches do not say which one it is.
 */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import { EVENT_VERSION, type ProviderName } from '../core/event.ts'
import type { JobIds } from '../core/job-id.ts'
import { LONGEST_SEND_MS, RECONCILIATION } from '../core/send-policy.ts'
import type { EventStore } from '../db/ingest/event-store.ts'
import type { StatusItem } from '../db/ingest/store-item.ts'
import { holdLease } from '../db/leases.ts'
import { claimForReconciliation, excludeOwnMessages, type InDoubtSend } from '../db/outbox/in-doubt-sends.ts'
import type { Database } from '../db/schema.ts'
import type { Senders } from '../providers/index.ts'
import type { Sender, SentMessage } from '../providers/sender.ts'

export type ReconciliationDeps = {
  db: Kysely<Database>
  store: EventStore
  senders: Senders
  now?: () => number
}

export type Reconciliation = {
  /** Call it every few seconds; one process does it at a time. Returns how many sends were found. */
  runOnce(signal: AbortSignal): Promise<number>
}

/** Longer than the calls of one run may take. */
const LEASE_MS = 60_000
export function createReconciliation(deps: ReconciliationDeps): Reconciliation {
  const holder = randomUUID()
  return {
    runOnce: async (signal) => {
      const { db, senders } = deps
      const reconcilable = Object.entries(senders).filter(([, sender]) => sender.findSent !== undefined)
      if (reconcilable.length === 0) return 0
      if (!(await holdLease(db, { name: 'send-lookup', holder, durationMs: LEASE_MS }))) return 0
      let found = 0
      for (const [provider, sender] of reconcilable)
        found += await reconcileProvider(deps, provider, sender, signal)
      return found
    },
  }
}

async function reconcileProvider(
  deps: ReconciliationDeps,
  provider: ProviderName,
  sender: Sender,
  signal: AbortSignal,
): Promise<number> {
  let found = 0
  for (const message of await claimForReconciliation(deps.db, provider)) {
    if (signal.aborted) break
    const sent = await findSentMessage(deps.db, sender, message, signal)
    if (sent === undefined) continue
    await deps.store.store(
      reconciledStatus({ provider, jobIds: sender.jobIds }, message, sent, deps.now?.() ?? Date.now()),
    )
    found++
  }
  return found
}

/** Looks this send up in the provider's list. Returns the entry when exactly one matches, else undefined. */
export async function findSentMessage(
  db: Kysely<Database>,
  sender: Sender,
  { business_number, recipient, text, sending_since }: InDoubtSend,
  signal: AbortSignal,
): Promise<SentMessage | undefined> {
  const since = sending_since.getTime()
  const candidates = await sender.findSent?.(
    {
      business_number,
      recipient,
      text,
      after: new Date(since - RECONCILIATION.clockToleranceMs),
      before: new Date(since + LONGEST_SEND_MS + RECONCILIATION.clockToleranceMs),
    },
    AbortSignal.any([signal, AbortSignal.timeout(RECONCILIATION.callTimeoutMs)]),
  )
  if (candidates === undefined) return undefined
  const free = await excludeOwnMessages(
    db,
    candidates.map((candidate) => candidate.wa_message_id),
  )
  const [only, ...others] = candidates.filter((candidate) => free.has(candidate.wa_message_id))
  return others.length === 0 ? only : undefined
}

/** The entry as a status with the send's callback_id. Storing it gives the send the provider's id. */
export function reconciledStatus(
  { provider, jobIds }: { provider: ProviderName; jobIds: JobIds },
  { business_number, callback_id }: InDoubtSend,
  sent: SentMessage,
  received_at: number,
): StatusItem {
  const { wa_message_id, status, account, errors, payload } = sent
  const known = { provider, wa_message_id, ...(account === undefined ? {} : { account }) }
  return {
    job_id: jobIds.status(wa_message_id, status),
    event: {
      v: EVENT_VERSION,
      kind: 'status',
      ...known,
      received_at,
      business_number,
      field: 'lookup',
      payload,
    },
    fact: {
      kind: 'status',
      ...known,
      business_number: sent.business_number || business_number,
      status,
      participant: '',
      callback_id,
      ...(errors === undefined ? {} : { errors }),
    },
  }
}
