/**
 * The send sweep. It makes sends of dead workers `unknown`, fails messages that waited for a day, closes circuit breakers of
 * replaced credentials, notifies the workers of everything that is due, also after the queue was away or emptied, and applies
 * statuses that were left over.
 */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { ProviderName } from '../core/event.ts'
import { holdLease } from '../db/leases.ts'
import { closeForOtherCredentials } from '../db/outbox/circuit-breaker.ts'
import { findDueReceipts } from '../db/outbox/read-receipts.ts'
import { forgetEndedRefusals } from '../db/outbox/send-refusals.ts'
import { failExpiredSends, findDueSends, markLostSendsUnknown } from '../db/outbox/sweep.ts'
import type { Database } from '../db/schema.ts'
import type { OutboundProducer } from '../queue/outbound-producer.ts'
import { createStatusRepair } from './status-repair.ts'

export type SendSweepDeps = {
  db: Kysely<Database>
  producer: OutboundProducer
  /** Digest of the configured credential, by provider. */
  credentialDigests: Partial<Record<ProviderName, string>>
}

export type SendSweepReport = { lost: number; expired: number; notified: number }

export type SendSweep = {
  /** Call it every second. One process sweeps; in the others it returns undefined. */
  runOnce(): Promise<SendSweepReport | undefined>
}

/** How long no process sweeps after the sweeping one has died. */
const LEASE_MS = 5_000

export function createSendSweep({ db, producer, credentialDigests }: SendSweepDeps): SendSweep {
  const holder = randomUUID()
  const statusRepair = createStatusRepair(db)
  return {
    runOnce: async () => {
      await closeForOtherCredentials(db, credentialDigests)
      if (!(await holdLease(db, { name: 'send-sweep', holder, durationMs: LEASE_MS }))) return undefined
      const lost = await markLostSendsUnknown(db)
      const expired = await failExpiredSends(db)
      await forgetEndedRefusals(db)
      const messageIds = await findDueSends(db)
      await producer.notifySends(messageIds)
      await producer.notifyReceipts(await findDueReceipts(db))
      await statusRepair.runOnce()
      return { lost, expired, notified: messageIds.length }
    },
  }
}
