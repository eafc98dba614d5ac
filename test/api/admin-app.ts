/** The admin routes on a port of their own, as a process without webhooks would serve them. */
import { type AdminRouterDeps, createAdminRouter } from '../../src/api/admin-router.ts'
import type { ApiDeps } from '../../src/api/api-deps.ts'
import { createApiRouter } from '../../src/api/api-router.ts'
import { createApp } from '../../src/api/app.ts'
import { createMetrics } from '../../src/api/metrics.ts'
import { createDashboard } from '../../src/dashboard/dashboard.ts'
import type { Page, PageDeps } from '../../src/dashboard/page.ts'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { PROVIDERS } from '../../src/providers/index.ts'
import { basicAuth, bearerAuth, serve } from '../support/http.ts'
import { captureLog } from './captured-log.ts'

export const USER = 'admin'
export const PASSWORD = 'correct horse battery staple'
export const API_TOKEN = 'api-token-of-the-tests'
export const METRICS_TOKEN = 'metrics-token-of-the-tests'
export const asAdmin = basicAuth(USER, PASSWORD)
export const withApiToken = bearerAuth(API_TOKEN)
export const withMetricsToken = bearerAuth(METRICS_TOKEN)

export const TOTALS = {
  received: 1_234_567,
  stored: 1_000_000,
  duplicates: { queue: 34_000, database: 200_000 },
  merged: 500,
  parked: 67,
  unknown_sends: 0,
}

export type AdminApp = { url: string; logLines: () => Record<string, unknown>[] }

/** A database that nobody answers for. */
export function nowhere() {
  return createDatabase(createPool({ url: 'postgres://127.0.0.1:1/nowhere', applicationName: 'test' }))
}

export async function startAdminApp(
  overrides: Partial<AdminRouterDeps & PageDeps & ApiDeps> & {
    trustProxy?: number
    pages?: readonly Page[]
  } = {},
): Promise<AdminApp> {
  const { log, lines } = captureLog()
  const stats = overrides.stats ?? (async () => TOTALS)
  const dashboard = createDashboard(
    {
      totals: overrides.totals ?? stats,
      waitingJobs: overrides.waitingJobs ?? (async () => 42),
    },
    overrides.pages,
  )
  const adminRouter = createAdminRouter({
    admin: { user: USER, password: PASSWORD },
    apiTokens: [API_TOKEN],
    metricsToken: METRICS_TOKEN,
    health: { checks: [] },
    metrics: createMetrics(),
    api: createApiRouter({
      db: nowhere(),
      stats,
      providers: PROVIDERS,
      defaultNumbers: {},
      findMissingCredential: () => undefined,
      uploadFolder: '/nowhere',
      refuseUpload: () => undefined,
      notifySend: () => {},
      notifyReceipt: () => {},
      signal: new AbortController().signal,
      log,
      ...overrides,
    }),
    boardQueues: [],
    bullBoardWrite: false,
    dashboard,
    log,
    ...overrides,
  })
  const { renderErrorPage } = dashboard
  const app = createApp({ routers: [adminRouter], trustProxy: overrides.trustProxy, log, renderErrorPage })
  return { url: await serve(app), logLines: lines }
}
