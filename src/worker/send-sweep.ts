/**
 * Keeps messages of ours from staying where they are: gives up what a lost worker was sending, fails what waited for a
 * day, and rings for everything whose turn it is. With the queue away, or emptied, this is what finds them.
 */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { ProviderName } from '../core/event.ts'
import { holdLease } from '../db/leases.ts'
import { closeForOtherCredentials } from '../db/outbox/circuit-breaker.ts'
import { findDueReceipts } from '../db/outbox/read-receipts.ts'
import { failExpiredSends, findDueSends, markLostSendsUnknown } from '../db/outbox/sweep.ts'
import type { Database } from '../db/schema.ts'
import type { OutboundProducer } from '../queue/outbound-producer.ts'

export type SendSweepDeps = {
  db: Kysely<Database>
  producer: OutboundProducer
  /** Digests of what is configured here. */
  credentials: Partial<Record<ProviderName, string>>
}

export type SendSweepReport = { lost: number; expired: number; notified: number }

export type SendSweep = {
  /** One process does it at a time; the others get undefined. To be called every second. */
  runOnce(): Promise<SendSweepReport | undefined>
}

/** How long nobody sweeps after the sweeping process has died. */
const LEASE_MS = 5_000

export function createSendSweep({ db, producer, credentials }: SendSweepDeps): SendSweep {
  const holder = randomUUID()
  return {
    runOnce: async () => {
      await closeForOtherCredentials(db, credentials)
      if (!(await holdLease(db, { name: 'send-sweep', holder, durationMs: LEASE_MS }))) return undefined
      const lost = await markLostSendsUnknown(db)
      const expired = await failExpiredSends(db)
      const messageIds = await findDueSends(db)
      await producer.notifySends(messageIds)
      await producer.notifyReceipts(await findDueReceipts(db))
      return { lost, expired, notified: messageIds.length }
    },
  }
}
