/** Puts together what operators see: health, metrics, totals, the dashboard and Bull Board. */
import type { Router } from 'express'
import type { Kysely } from 'kysely'
import { sql } from 'kysely'
import { createAdminRouter } from '../../api/admin-router.ts'
import type { CheckReport, HealthCheck } from '../../api/health.ts'
import type { Metrics } from '../../api/metrics.ts'
import type { Config } from '../../config.ts'
import { createDashboard } from '../../dashboard/dashboard.ts'
import type { Database } from '../../db/schema.ts'
import { readStats } from '../../db/stats.ts'
import type { Logger } from '../../logger.ts'
import type { QueueBackend } from '../../queue/backend.ts'
import { QUEUE_NAMES } from '../../queue/names.ts'

export type AdminServiceDeps = {
  config: Config
  db: Kysely<Database>
  backend: QueueBackend
  metrics: Metrics
  log: Logger
}

export function createAdminService({ config, db, backend, metrics, log }: AdminServiceDeps): Router {
  const boardQueues = QUEUE_NAMES.map((name) => backend.createProducerQueue(name))
  const inbound = boardQueues[0]
  return createAdminRouter({
    admin: config.admin,
    apiTokens: config.apiTokens,
    metricsToken: config.metricsToken,
    publicUrl: config.http.publicUrl,
    health: { checks: healthChecks(db, backend), isReady: isReceiverReady },
    metrics,
    stats: () => readStats(db),
    boardQueues,
    bullBoardWrite: config.bullBoardWrite,
    dashboard: createDashboard({
      totals: () => readStats(db),
      waitingJobs: async () => (await inbound?.getWaitingCount()) ?? 0,
    }),
    log,
  })
}

export function healthChecks(db: Kysely<Database>, backend: QueueBackend): HealthCheck[] {
  return [
    {
      name: 'database',
      check: async () => {
        await sql`SELECT 1`.execute(db)
        return { ok: true }
      },
    },
    {
      name: 'queue',
      check: async () => {
        await backend.ping()
        return { ok: true }
      },
    },
  ]
}

/** The receiver acknowledges as long as one of its two stores does. */
function isReceiverReady(reports: readonly CheckReport[]): boolean {
  return reports.some((report) => report.ok)
}
