/** Puts the worker together: queue in, database out, and what runs beside it. */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Metrics } from '../../api/metrics.ts'
import type { Config } from '../../config.ts'
import { createEventStore } from '../../db/event-store.ts'
import { holdLease } from '../../db/leases.ts'
import type { Database } from '../../db/schema.ts'
import type { Logger } from '../../logger.ts'
import { normalize } from '../../providers/index.ts'
import type { QueueBackend } from '../../queue/backend.ts'
import { sweepFailedJobs } from '../../worker/failed-job-sweep.ts'
import { createInboundWorker } from '../../worker/inbound-worker.ts'
import { observeWorker } from './observers.ts'
import { observeBatch } from './receiver-service.ts'

export type WorkerServiceDeps = {
  config: Config
  db: Kysely<Database>
  backend: QueueBackend
  metrics: Metrics
  log: Logger
}

export type WorkerService = {
  /** Runs failed jobs again; to be called every few seconds. */
  sweepFailedJobs(): Promise<void>
  /** Fetches no new job, and lets running ones end until the deadline. What is cut off is run again elsewhere. */
  close(deadlineMs: number): Promise<void>
}

/** Longer than a statement may take, so that a sweep that is still at work is not joined by a second one. */
const SWEEP_LEASE_MS = 60_000

export function startWorkerService(deps: WorkerServiceDeps): WorkerService {
  const { config, db, backend, metrics, log } = deps
  const store = createEventStore({ db, onBatch: observeBatch(metrics) })
  const worker = createInboundWorker({
    backend,
    store,
    normalize,
    concurrency: config.worker.concurrency,
    observer: observeWorker(metrics, log),
  })
  const holder = randomUUID()
  const sweepQueue = backend.createQueue('inbound')
  worker.run().catch((err) => log.error({ err }, 'worker ended'))

  return {
    sweepFailedJobs: async () => {
      if (!(await holdLease(db, { name: 'failed-job-sweep', holder, durationMs: SWEEP_LEASE_MS }))) return
      const report = await sweepFailedJobs({ queue: sweepQueue, store, normalize })
      const total = report.retried + report.ranAlone + report.parked
      if (total > 0) log.info({ ...report }, 'failed jobs run again')
    },
    close: async (deadlineMs) => {
      // BullMQ's close waits for ever while Redis is away (measured), hence the deadline.
      await Promise.race([worker.close(), new Promise((resolve) => setTimeout(resolve, deadlineMs).unref())])
    },
  }
}
