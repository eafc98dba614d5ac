/**
 * Everything but the webhooks: health, metrics, the JSON API, the dashboard and Bull Board, each behind its own checks.
 *
 * It is the last router of an app, or the only one of the app on ADMIN_PORT; `notFound` and the error handler follow
 * it.
 */
import type { Queue } from 'bullmq'
import { type Request, type RequestHandler, Router } from 'express'
import helmet from 'helmet'
import { createAdminAuth, createTokenGuard } from './admin-auth.ts'
import type { ApiRouter } from './api-router.ts'
import { createHealth, type HealthDeps } from './health.ts'
import type { Metrics } from './metrics.ts'
import type { Log } from './problem.ts'
import { createSameOriginGuard } from './same-origin.ts'

const QUEUES_PATH = '/queues'

export type AdminRouterDeps = {
  admin: { user: string; password: string }
  apiTokens: readonly string[]
  metricsToken?: string | undefined
  publicUrl?: string | undefined
  health: Pick<HealthDeps, 'checks' | 'isReady'>
  metrics: Metrics
  /** Mounted at `/api`. */
  api: ApiRouter
  /** For Bull Board (bull-board.ts says which kind) and for the metrics that count jobs. */
  boardQueues: readonly Queue[]
  bullBoardWrite: boolean
  dashboard: DashboardRoutes
  log: Log
}

export type DashboardRoutes = {
  pages: readonly {
    path: string
    /** Who may open the page. */
    access: 'admin'
    /** Whether the page answers the addresses below its path, too. */
    hasRoutesBelow: boolean
    handler: RequestHandler
  }[]
  /** Style sheets and images at `/assets`. Public: the page that answers 401 needs them too. */
  assets: RequestHandler
}

/** Opens and closes no connection: queues and stores belong to the caller. */
export function createAdminRouter(deps: AdminRouterDeps): Router {
  const auth = createAdminAuth({ ...deps.admin, ...deps })
  const guard = createSameOriginGuard({ publicUrl: deps.publicUrl, isExempt: auth.cameWithToken })
  const apiGuard = createSameOriginGuard({
    publicUrl: deps.publicUrl,
    isExempt: auth.cameWithToken,
    takesFile: deps.api.takesFile,
  })

  deps.metrics.watchQueues(deps.boardQueues)

  const router = Router()
  const monitoring = createMonitoringRouter(deps, {
    isAdmin: (req) => auth.isAdmin(req),
    mayReadMetrics: auth.requireAdminOrMetricsToken,
  })
  router.use(deps.metrics.observeHttp, monitoring)
  router.use('/api', auth.requireAdminOrApiToken, apiGuard, deps.api.router)
  router.use(
    QUEUES_PATH,
    auth.requireAdmin,
    guard,
    onFirstUse(() => loadBullBoard(deps)),
  )
  router.use('/assets', deps.dashboard.assets)
  const guards = { admin: auth.requireAdmin }
  for (const { path, access, hasRoutesBelow, handler } of deps.dashboard.pages) {
    const mount = hasRoutesBelow ? router.use.bind(router) : router.all.bind(router)
    mount(path, guards[access], guard, handler)
  }
  return router
}

/** Loaded at the first request: Bull Board takes 15 MB of memory, and most receivers never serve it. */
async function loadBullBoard({ boardQueues, bullBoardWrite, log }: AdminRouterDeps): Promise<RequestHandler> {
  const { createBullBoardRouter } = await import('./bull-board.ts')
  return createBullBoardRouter({
    queues: boardQueues,
    canWrite: bullBoardWrite,
    basePath: QUEUES_PATH,
    log,
  })
}

/** A failed load is repeated at the next request. */
function onFirstUse(load: () => Promise<RequestHandler>): RequestHandler {
  let loaded: Promise<RequestHandler> | undefined
  return async (req, res, next) => {
    loaded ??= load().catch((err) => {
      loaded = undefined
      throw err
    })
    const handler = await loaded
    handler(req, res, next)
  }
}

/**
 * Health and metrics for the webhooks' port, where the admin has a port of its own. It accepts no password: strangers
 * reach this port, and could guess passwords here beside the admin's port, under a separate count.
 */
export function createPublicMonitoringRouter(
  deps: Pick<AdminRouterDeps, 'health' | 'metrics' | 'metricsToken'>,
): Router {
  return createMonitoringRouter(deps, {
    isAdmin: () => false,
    mayReadMetrics: createTokenGuard(deps.metricsToken),
  })
}

type MonitoringAccess = { isAdmin: (req: Request) => boolean; mayReadMetrics: RequestHandler }

function createMonitoringRouter(
  deps: Pick<AdminRouterDeps, 'health' | 'metrics'>,
  { isAdmin, mayReadMetrics }: MonitoringAccess,
): Router {
  const health = createHealth({ ...deps.health, isAdmin })
  const router = Router()
  // Also for the routers that follow, and so for error pages.
  router.use(pageHeaders)
  router.get('/health/live', health.live)
  router.get('/health/ready', health.ready)
  router.get('/metrics', mayReadMetrics, deps.metrics.serve)
  return router
}

/**
 * Our pages run no script and load nothing from other sites. Strict-Transport-Security is left to the proxy that ends
 * TLS, because the header applies to every port of the host name. upgrade-insecure-requests is left out, because
 * without TLS a browser could not load the style sheet.
 */
const pageHeaders = helmet({
  strictTransportSecurity: false,
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
})
