/**
 * Everything that is not a webhook: health, metrics, the JSON API, the dashboard and Bull Board, each behind what it needs.
 *
 * Goes last in an app, or alone into one on ADMIN_PORT; `notFound` and the error handler follow it.
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
  /** For Bull Board (see bull-board.ts) and for counting jobs. */
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

/** Opens nothing and closes nothing: queues and stores belong to the caller. */
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
  const probes = createProbeRouter(deps, {
    isAdmin: (req) => auth.isAdmin(req),
    mayReadMetrics: auth.requireAdminOrMetricsToken,
  })
  router.use(deps.metrics.observeHttp, probes)
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

/** It takes 15 MB, and nobody opens it on most receivers. */
async function loadBullBoard({ boardQueues, bullBoardWrite, log }: AdminRouterDeps): Promise<RequestHandler> {
  const { createBullBoardRouter } = await import('./bull-board.ts')
  return createBullBoardRouter({
    queues: boardQueues,
    canWrite: bullBoardWrite,
    basePath: QUEUES_PATH,
    log,
  })
}

/** A load that failed is tried again at the next request. */
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
 * For the webhooks' port where the admin has one of its own. Strangers reach it, so it takes no password: it would be a
 * second place to guess at, with a count of its own.
 */
export function createPublicProbeRouter(
  deps: Pick<AdminRouterDeps, 'health' | 'metrics' | 'metricsToken'>,
): Router {
  return createProbeRouter(deps, {
    isAdmin: () => false,
    mayReadMetrics: createTokenGuard(deps.metricsToken),
  })
}

type ProbeAccess = { isAdmin: (req: Request) => boolean; mayReadMetrics: RequestHandler }

/** What monitoring asks. */
function createProbeRouter(
  deps: Pick<AdminRouterDeps, 'health' | 'metrics'>,
  { isAdmin, mayReadMetrics }: ProbeAccess,
): Router {
  const health = createHealth({ ...deps.health, isAdmin })
  const router = Router()
  // For whatever follows it as well: also a page that says 404 is a page.
  router.use(pageHeaders)
  router.get('/health/live', health.live)
  router.get('/health/ready', health.ready)
  router.get('/metrics', mayReadMetrics, deps.metrics.serve)
  return router
}

/**
 * Our pages run no script and load nothing from elsewhere. No Strict-Transport-Security: it would hold for every port of
 * the host name, so it is for the proxy that ends TLS to say. No upgrade-insecure-requests either: without TLS it would
 * keep a browser from loading the style sheet.
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
