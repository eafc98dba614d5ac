/** Puts together what operators see: health, metrics, totals, the dashboard and Bull Board. */
import type { Router } from 'express'
import { sql } from 'kysely'
import { createAdminAuth } from '../../api/admin-auth.ts'
import { type AdminRouterDeps, createAdminRouter, createProbeRouter } from '../../api/admin-router.ts'
import type { CheckReport, HealthCheck } from '../../api/health.ts'
import type { Metrics } from '../../api/metrics.ts'
import type { Config } from '../../config.ts'
import { describeSettingFinding, type SettingFinding } from '../../core/setting-finding.ts'
import { createDashboard } from '../../dashboard/dashboard.ts'
import { checkPostgresSafety } from '../../db/postgres-safety.ts'
import { readStats } from '../../db/stats.ts'
import type { Logger } from '../../logger.ts'
import { QUEUE_NAMES } from '../../queue/names.ts'
import type { Stores } from './open-stores.ts'

export type AdminServiceDeps = {
  config: Config
  stores: Stores
  metrics: Metrics
  log: Logger
}

/** `probes`: health and metrics alone, for the webhooks' port where the admin has one of its own. */
export type AdminRouters = { admin: Router; probes: Router }

export function createAdminService({ config, stores, metrics, log }: AdminServiceDeps): AdminRouters {
  const { db, backend } = stores
  const boardQueues = QUEUE_NAMES.map((name) => backend.createProducerQueue(name))
  const inbound = boardQueues[0]
  const deps: AdminRouterDeps = {
    admin: config.admin,
    apiTokens: config.apiTokens,
    metricsToken: config.metricsToken,
    publicUrl: config.http.publicUrl,
    health: { checks: healthChecks(stores), isReady: isReceiverReady },
    metrics,
    stats: () => readStats(db),
    boardQueues,
    bullBoardWrite: config.bullBoardWrite,
    dashboard: createDashboard({
      totals: () => readStats(db),
      waitingJobs: async () => (await inbound?.getWaitingCount()) ?? 0,
    }),
    log,
  }
  return {
    admin: createAdminRouter(deps),
    probes: createProbeRouter(deps, createAdminAuth({ ...deps.admin, ...deps })),
  }
}

export function healthChecks({ db, pool, backend }: Stores): HealthCheck[] {
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
    {
      name: 'settings',
      check: async () => ({
        ok: true,
        findings: (await findUnsafeSettings({ pool, backend })).map(describeSettingFinding),
      }),
    },
  ]
}

/** Of the stores that answer; the others are reported as away by their own checks. */
export async function findUnsafeSettings({
  pool,
  backend,
}: Pick<Stores, 'pool' | 'backend'>): Promise<SettingFinding[]> {
  const found = await Promise.allSettled([checkPostgresSafety(pool), backend.checkSafety()])
  return found.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
}

/** The receiver acknowledges as long as one of its two stores does. */
function isReceiverReady(reports: readonly CheckReport[]): boolean {
  return reports.some((report) => report.ok && (report.name === 'database' || report.name === 'queue'))
}
