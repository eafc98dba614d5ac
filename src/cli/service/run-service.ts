/**
 * Runs a service process: receiver, worker, or both. Each part is imported only when it runs, which saves memory: a worker
 * needs neither Express nor the pages.
 */
import { createMetrics, type Metrics } from '../../api/metrics.ts'
import type { Config } from '../../config/config-groups.ts'
import { describeConfig } from '../../config/describe-config.ts'
import { withDeadline } from '../../core/deadline.ts'
import { runEvery } from '../../lifecycle/run-every.ts'
import { type RunContext, runUntilSignal } from '../../lifecycle/run-until-signal.ts'
import type { Logger } from '../../logger/logger.ts'
import type { QueueBackend } from '../../queue/backend.ts'
import { openStores, type Stores } from './open-stores.ts'
import type { ReceiverService } from './receiver-service.ts'
import { createSettingWatch } from './setting-watch.ts'
import { findUnsafeSettings } from './unsafe-settings.ts'

export type RunServiceOptions = {
  config: Config
  log: Logger
  signal: AbortSignal
  parts: readonly ('receiver' | 'worker')[]
  database: 'migrate' | 'check'
  onReady?: (ready: { receiver: ReceiverService | undefined; databaseUrl: string }) => void
}

/** Ctrl-C ends the process in under 5 s. */
const SHUTDOWN_TIMEOUT_MS = 4_500
const INBOUND_CLOSE_TIMEOUT_MS = 1_500
/** Longer than for inbound: a send that is cut off is in doubt, and a person may have to look at it. */
const SENDS_CLOSE_TIMEOUT_MS = 2_500
const QUEUE_READY_TIMEOUT_MS = 3_000
const SAFETY_TIMEOUT_MS = 2_000
const SAFETY_INTERVAL_MS = 60_000
const MOVE_INTERVAL_MS = 1_000
const SWEEP_INTERVAL_MS = 5_000
const DUPLICATES_INTERVAL_MS = 2_000
const PRUNE_INTERVAL_MS = 10 * 60_000
const UPLOADS_INTERVAL_MS = 60 * 60_000
const MEMORY_INTERVAL_MS = 1_000
const SEND_SWEEP_INTERVAL_MS = 1_000
const RECONCILIATION_INTERVAL_MS = 10_000
/** How soon a worker notices that a back-fill is due; TWILIO_BACKFILL_MINUTES says how often it is. */
const BACKFILL_INTERVAL_MS = 10_000

type Part = { config: Config; log: Logger; context: RunContext; stores: Stores; metrics: Metrics }

/** Runs until the signal; the result is the exit code. */
export function runService(options: RunServiceOptions): Promise<number> {
  const { config, log, signal, parts, database, onReady } = options
  return runUntilSignal({
    log,
    signal,
    shutdownTimeoutMs: SHUTDOWN_TIMEOUT_MS,
    start: async (context) => {
      log.info(describeConfig(config), 'starting')
      for (const warning of config.warnings) log.warn({ detail: warning }, 'configuration')
      const stores = await openStores({ config, log, context, database })
      const part = { config, log, context, stores, metrics: createMetrics() }
      if (parts.includes('worker')) await startWorker(part)
      const receiver = parts.includes('receiver') ? await startReceiver(part) : undefined
      await waitForQueue(stores.backend, log)
      await watchSettings(part)
      log.info({ port: receiver?.port, queue: stores.backend.kind, parts: parts.join(', ') }, 'ready')
      onReady?.({ receiver, databaseUrl: stores.databaseUrl })
    },
  })
}

/** Waits at most 3 s: without the queue a receiver uses the direct path. */
async function waitForQueue(backend: QueueBackend, log: Logger): Promise<void> {
  await withDeadline(backend.ready(), QUEUE_READY_TIMEOUT_MS, 'connecting to the queue').catch((err) => {
    log.warn({ err }, 'queue is away, starting without it')
  })
}

/** Checks once before "ready", then on an interval: settings can change, and a store that was away can have others. */
async function watchSettings({ stores, log, context, metrics }: Part): Promise<void> {
  const watch = createSettingWatch({
    find: () => withDeadline(findUnsafeSettings(stores), SAFETY_TIMEOUT_MS, 'checking settings'),
    onCount: (count) => metrics.setUnsafeSettings(count),
    log,
  })
  await watch.runOnce().catch(() => {})
  repeat(context, log, 'settings', SAFETY_INTERVAL_MS, () => watch.runOnce())
}

async function startReceiver({ config, log, context, stores, metrics }: Part): Promise<ReceiverService> {
  const { createAdminService } = await import('./admin-service.ts')
  const { startReceiverService } = await import('./receiver-service.ts')
  const { db, backend } = stores
  const routers = createAdminService({ config, stores, metrics, log, context })
  const receiver = await startReceiverService({ config, db, backend, metrics, log, routers })
  context.releases.add('http server', () => receiver.close())
  repeat(context, log, 'queue memory', MEMORY_INTERVAL_MS, () => receiver.watchQueueMemory())
  repeat(context, log, 'dropped duplicates', DUPLICATES_INTERVAL_MS, () => receiver.countDropped())
  return receiver
}

async function startWorker({ config, log, context, stores, metrics }: Part): Promise<void> {
  const { startWorkerService } = await import('./worker-service.ts')
  const { createChangePruner } = await import('../../worker/change-pruner.ts')
  const { createMessageMover } = await import('../../worker/message-mover.ts')
  const { createUploadPruner } = await import('../../worker/upload-pruner.ts')
  const { db, backend } = stores
  const worker = startWorkerService({ config, db, backend, metrics, log, stop: context.signal })
  context.releases.add('worker', () =>
    worker.close({ inboundMs: INBOUND_CLOSE_TIMEOUT_MS, sendsMs: SENDS_CLOSE_TIMEOUT_MS }),
  )
  const pruner = createChangePruner({ db })
  const mover = createMessageMover({ db })
  repeat(context, log, 'messages of merged conversations', MOVE_INTERVAL_MS, () =>
    mover.runOnce(context.signal),
  )
  repeat(context, log, 'failed job sweep', SWEEP_INTERVAL_MS, () => worker.sweepFailedJobs())
  repeat(context, log, 'old changes', PRUNE_INTERVAL_MS, () => pruner.runOnce(context.signal))
  const uploads = createUploadPruner({ db, uploadFolder: config.uploadFolder })
  repeat(context, log, 'old uploads', UPLOADS_INTERVAL_MS, () => uploads.runOnce(context.signal))
  repeat(context, log, 'send sweep', SEND_SWEEP_INTERVAL_MS, () => worker.sends.sweep())
  repeat(context, log, 'send look-up', RECONCILIATION_INTERVAL_MS, () => worker.sends.reconcile())
  repeat(context, log, 'back-fill', BACKFILL_INTERVAL_MS, () => worker.sends.backFill())
}

function repeat(
  context: RunContext,
  log: Logger,
  task: string,
  intervalMs: number,
  runOnce: () => Promise<unknown>,
) {
  const onError = (err: unknown) => log.warn({ err, task }, 'background task failed, to be tried again')
  void runEvery(intervalMs, runOnce, context.signal, onError)
}
