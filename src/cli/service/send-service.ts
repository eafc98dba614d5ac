/** Puts sending together: the send worker, its sweep, reconciliation and the scheduled back-fill. */
import type { Kysely } from 'kysely'
import type { Metrics } from '../../api/metrics.ts'
import type { Config } from '../../config/config-groups.ts'
import type { ProviderName } from '../../core/event.ts'
import type { EventStore } from '../../db/ingest/event-store.ts'
import type { Database } from '../../db/schema.ts'
import type { Logger } from '../../logger/logger.ts'
import { createSenders, missingCredentials, type Senders } from '../../providers/index.ts'
import type { QueueBackend } from '../../queue/backend.ts'
import { createOutboundProducer } from '../../queue/outbound-producer.ts'
import type { BackfillReport } from '../../worker/backfill.ts'
import { createReconciliation } from '../../worker/reconciliation.ts'
import { createScheduledBackfill, type ScheduledBackfill } from '../../worker/scheduled-backfill.ts'
import { createSendSweep } from '../../worker/send-sweep.ts'
import { createSendWorker, type SendWorker } from '../../worker/send-worker.ts'
import { observeSends } from './observers.ts'

export type SendServiceDeps = {
  config: Config
  db: Kysely<Database>
  backend: QueueBackend
  /** Stores what reconciliation and the back-fill find. */
  store: EventStore
  metrics: Metrics
  log: Logger
  stop: AbortSignal
}

export type SendService = {
  /** Call it every second. */
  sweep(): Promise<void>
  /** Looks in-doubt sends up at their providers. Call it every few seconds. */
  reconcile(): Promise<void>
  /** Runs the back-fill when it is due. Call it every few seconds. */
  backFill(): Promise<void>
  whileQuiet: SendWorker['whileQuiet']
  close(deadlineMs: number): Promise<void>
}

export function startSendService(deps: SendServiceDeps): SendService {
  const { config, db, backend, store, metrics, log, stop } = deps
  const senders = createSenders(config.providers)
  const worker = createSendWorker({
    backend,
    db,
    senders,
    findMissingCredential: missingCredentials(config.providers),
    uploadFolder: config.uploadFolder,
    concurrency: config.worker.concurrency,
    observer: observeSends(metrics, log),
    stop,
  })
  const producer = createOutboundProducer({ queue: backend.createProducerQueue('outbound') })
  const sweep = createSendSweep({ db, producer, credentialDigests: credentialDigestsOf(senders) })
  const reconciliation = createReconciliation({ db, store, senders })
  const backfills = createBackfills(deps, senders)
  worker.run().catch((err) => log.error({ err }, 'send worker ended'))

  return {
    sweep: async () => {
      const report = await sweep.runOnce()
      if (report === undefined) return
      if (report.lost > 0) log.warn({ messages: report.lost }, 'sends without outcome, now unknown')
      if (report.expired > 0)
        log.warn({ messages: report.expired }, 'messages not sent within a day, now failed')
    },
    reconcile: async () => {
      const found = await reconciliation.runOnce(stop)
      if (found > 0) log.info({ messages: found }, 'unknown sends found at the provider')
    },
    backFill: async () => {
      for (const backfill of backfills) {
        const report = await backfill.runOnce(stop)
        if (report !== undefined) log[levelOf(report)]({ ...report }, 'messages back-filled')
      }
    },
    whileQuiet: (work) => worker.whileQuiet(work),
    close: (deadlineMs) => worker.close(deadlineMs),
  }
}

function createBackfills({ config, db, store }: SendServiceDeps, senders: Senders): ScheduledBackfill[] {
  return config.providers.flatMap(({ name: provider, backfillMinutes = 0 }) => {
    const sender = senders[provider]
    if (sender?.history === undefined || backfillMinutes === 0) return []
    const { history } = sender
    const intervalMs = backfillMinutes * 60_000
    return [createScheduledBackfill({ db, store, provider, sender, history, intervalMs })]
  })
}

/** `info` when the back-fill found something, because a webhook was missed then. */
function levelOf({ stored, statuses, identified, parked }: BackfillReport): 'info' | 'debug' {
  return stored + statuses + identified + parked > 0 ? 'info' : 'debug'
}

function credentialDigestsOf(senders: Senders): Record<ProviderName, string> {
  return Object.fromEntries(
    Object.entries(senders).map(([provider, { credentialDigest }]) => [provider, credentialDigest]),
  )
}
