/** Puts the worker together: the inbound consumer, the sweep of failed jobs, and sending. */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Metrics } from '../../api/metrics.ts'
import type { Config } from '../../config/config-groups.ts'
import { createEventStore } from '../../db/ingest/event-store.ts'
import { isEventStored } from '../../db/ingest/find-stored.ts'
import { holdLease, releaseLease } from '../../db/leases.ts'
import type { Database } from '../../db/schema.ts'
import type { Logger } from '../../logger/logger.ts'
import { createNormalize, messageIdFinder, numberRule } from '../../providers/index.ts'
import type { QueueBackend } from '../../queue/backend.ts'
import { type SweepReport, sweepFailedJobs } from '../../worker/failed-job-sweep.ts'
import { createInboundWorker } from '../../worker/inbound-worker.ts'
import { observeBatch, observeSuspects, observeWorker } from './observers.ts'
import { type SendService, startSendService } from './send-service.ts'

export type WorkerServiceDeps = {
  config: Config
  db: Kysely<Database>
  backend: QueueBackend
  metrics: Metrics
  log: Logger
  /** Aborts when the process is to stop. */
  stop: AbortSignal
}

export type WorkerService = {
  /** Runs failed jobs again; call it every few seconds. */
  sweepFailedJobs(): Promise<void>
  sends: Pick<SendService, 'sweep' | 'reconcile' | 'backFill'>
  /** Reserves no new job, and waits for running ones until the deadline. Jobs that are cut off run again on another worker. */
  close(deadlines: { inboundMs: number; sendsMs: number }): Promise<void>
}

/** How long other workers wait after a worker was killed during its sweep; a sweep that ends releases its lease. */
const SWEEP_LEASE_MS = 60_000

export function startWorkerService(deps: WorkerServiceDeps): WorkerService {
  const { config, db, backend, metrics, log, stop } = deps
  const { providers } = config
  const normalize = createNormalize(providers)
  const findMessageId = messageIdFinder(providers)
  const store = createEventStore({
    db,
    choosesNumber: numberRule(providers),
    onBatch: observeBatch(metrics),
    onSuspect: observeSuspects(log),
  })
  const worker = createInboundWorker({
    backend,
    store,
    normalize,
    findMessageId,
    concurrency: config.worker.concurrency,
    observer: observeWorker(metrics, log),
  })
  const holder = randomUUID()
  const sweepQueue = backend.createQueue('inbound')
  const sends = startSendService({ ...deps, store })
  let sweeping: Promise<void> = Promise.resolve()
  worker.run()

  async function sweep(): Promise<void> {
    const lease = { name: 'failed-job-sweep', holder }
    if (!(await holdLease(db, { ...lease, durationMs: SWEEP_LEASE_MS }))) return
    try {
      logSweep(
        log,
        await sweepFailedJobs({
          queue: sweepQueue,
          store,
          normalize,
          findMessageId,
          isStored: (job) => isEventStored(db, job),
          whileQuiet: sends.whileQuiet,
          signal: stop,
        }),
      )
    } finally {
      await releaseLease(db, lease)
    }
  }

  return {
    sends,
    sweepFailedJobs: () => {
      sweeping = sweep()
      return sweeping
    },
    close: async ({ inboundMs, sendsMs }) => {
      // Jobs under way would wait for a queue that is away, so there is a deadline.
      const deadline = new Promise((resolve) => setTimeout(resolve, inboundMs).unref())
      // The sweep must finish the job that it runs alone: the next sweep would take its mark for a process that died.
      const inbound = Promise.all([worker.close(), sweeping.catch(() => {})])
      await Promise.all([Promise.race([inbound, deadline]), sends.close(sendsMs)])
    },
  }
}

function logSweep(log: Logger, { failed, cause, ...done }: SweepReport): void {
  if (done.retried + done.ranAlone + done.parked > 0) log.info(done, 'failed jobs run again')
  if (failed > 0) log.warn({ err: cause, jobs: failed }, 'failed jobs cannot be run again, to be tried again')
}
