/**
 * Bull Board shows the queues to the admin.
 *
 * Without changes it would wait for ever while the queue backend is away, show personal data that error messages
 * contain, and offer actions that delete thousands of acknowledged messages. So its handlers run inside ours: every
 * answer has a deadline, text is masked, nothing can be changed without `canWrite`, and with it only ALLOWED_ACTIONS
 * are possible.
 *
 * Pass Queue instances of its own (with a connection that fails fast and `skipMetasUpdate`), so that the board and the
 * producer do not delay each other.
 */
import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import type { AppControllerRoute, AppViewRoute, BeforeHook } from '@bull-board/api/typings/app'
import { ExpressAdapter } from '@bull-board/express'
import type { Job, Queue } from 'bullmq'
import { type RequestHandler, Router } from 'express'
import helmet from 'helmet'
import { withDeadline } from '../core/deadline.ts'
import { maskText } from '../logger/mask.ts'
import { summarizeJobData, summarizeResult } from './job-summary.ts'
import { type Log, ProblemError } from './problem.ts'
import { createSingleFlight } from './single-flight.ts'

const READ_TIMEOUT_MS = 3_000
/** An action such as retrying all failed jobs makes one call for every hundred jobs. */
const WRITE_TIMEOUT_MS = 30_000
const COUNT_TIMEOUT_MS = 1_000
const MAX_STACK_LENGTH = 4_000

export type BullBoardDeps = {
  queues: readonly Queue[]
  canWrite: boolean
  /** Where the board is mounted, without a slash at the end. */
  basePath: string
  log: Pick<Log, 'error'>
}

/** To be mounted behind authentication and the same-origin guard. */
export function createBullBoardRouter(deps: BullBoardDeps): Router {
  const isAvailable = createAvailability(deps.queues)
  const serverAdapter = new GuardedAdapter(isAvailable, deps.log)
  serverAdapter.setBasePath(deps.basePath)
  createBullBoard({
    queues: deps.queues.map((queue) => createQueueAdapter(queue, deps.canWrite)),
    serverAdapter,
    options: {
      handlerHooks: { before: createActionFilter(deps.canWrite) },
      uiConfig: {
        boardTitle: 'wa-ingest queues',
        favIcon: { default: 'static/images/logo.svg', alternative: 'static/favicon-32x32.png' },
        miscLinks: [{ text: 'Dashboard', url: '/' }],
        hideDocsLink: true,
      },
    },
  })
  const app = serverAdapter.getRouter()
  app.disable('x-powered-by')

  const router = Router()
  router.use(boardHeaders, refuseWhenAway(isAvailable), app)
  return router
}

/** Removed from the page: the content security policy blocks the link, and each browser would report that. */
const LINK_TO_GOOGLE_FONTS = /<link href="https:\/\/fonts\.googleapis\.com\/[^>]*>/

/**
 * 'unsafe-inline' for styles: the page has a style element and its libraries add others. base-uri: it has a base
 * element.
 */
const boardPolicy = helmet.contentSecurityPolicy({
  useDefaults: false,
  directives: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'", "'unsafe-inline'"],
    imgSrc: ["'self'", 'data:'],
    fontSrc: ["'self'"],
    connectSrc: ["'self'"],
    baseUri: ["'self'"],
    formAction: ["'self'"],
    frameAncestors: ["'none'"],
  },
})

const boardHeaders: RequestHandler = (req, res, next) => {
  // The file names contain a hash of the content.
  if (req.path.startsWith('/static/')) res.set('Cache-Control', 'private, max-age=86400')
  boardPolicy(req, res, next)
}

/** While the queue is away, a page answers that at once instead of loading an interface without data. */
function refuseWhenAway(isAvailable: () => Promise<boolean>): RequestHandler {
  return async (req, _res, next) => {
    const isPage = !req.path.startsWith('/static/') && !req.path.startsWith('/api/')
    if (!isPage || (await isAvailable())) return next()
    next(new ProblemError({ status: 503, detail: UNAVAILABLE, headers: { 'Retry-After': '10' } }))
  }
}

const UNAVAILABLE =
  'The queue does not answer. On Redis, messages are still taken in as long as the database does; see /health/ready. ' +
  'This page works again as soon as the queue does.'

function createAvailability(queues: readonly Queue[]): () => Promise<boolean> {
  const [queue] = queues
  if (queue === undefined) return async () => true
  const countJobs = createSingleFlight({
    call: () => queue.getJobCounts('waiting'),
    timeoutMs: COUNT_TIMEOUT_MS,
    task: 'Counting jobs',
  })
  return () =>
    countJobs().then(
      () => true,
      () => false,
    )
}

class GuardedAdapter extends ExpressAdapter {
  readonly #isAvailable: () => Promise<boolean>
  readonly #log: Pick<Log, 'error'>

  constructor(isAvailable: () => Promise<boolean>, log: Pick<Log, 'error'>) {
    super()
    this.#isAvailable = isAvailable
    this.#log = log
  }

  override setApiRoutes(routes: AppControllerRoute[]): ExpressAdapter {
    return super.setApiRoutes(routes.map((route) => this.#guard(route)))
  }

  override setEntryRoute({ route, handler }: AppViewRoute): ExpressAdapter {
    this.app.get(route, (_req, res, next) => {
      const { name, params } = handler({ basePath: this.basePath, uiConfig: this.uiConfig })
      this.app.render(name, params, (err, page) => {
        if (err) return next(err)
        res.type('html').send(page.replace(LINK_TO_GOOGLE_FONTS, ''))
      })
    })
    return this
  }

  #guard(route: AppControllerRoute): AppControllerRoute {
    const timeoutMs = route.method === 'get' ? READ_TIMEOUT_MS : WRITE_TIMEOUT_MS
    return {
      ...route,
      handler: async (request) => {
        try {
          return await withDeadline(Promise.resolve(route.handler(request)), timeoutMs, 'The queue')
        } catch (err) {
          throw await this.#toAnswer(err, route)
        }
      },
    }
  }

  /** Bull Board answers an error with its `statusCode` and its message. */
  async #toAnswer(err: unknown, route: AppControllerRoute): Promise<Error> {
    if (!(await this.#isAvailable())) return Object.assign(new Error(UNAVAILABLE), { statusCode: 503 })
    this.#log.error({ err, route: route.route }, 'bull board request failed')
    const message = err instanceof Error ? maskText(err.message) : 'Internal error.'
    return Object.assign(new Error(message), { statusCode: 500 })
  }
}

function createQueueAdapter(queue: Queue, canWrite: boolean): BullMQAdapter {
  const adapter = new MaskedQueueAdapter(queue, { readOnlyMode: !canWrite })
  adapter.setFormatter('data', summarizeJobData)
  adapter.setFormatter('returnValue', summarizeResult)
  adapter.setFormatter('progress', summarizeResult)
  return adapter
}

/** Formatters do not cover failure reasons, stack traces and logs: these are masked when the board reads them. */
class MaskedQueueAdapter extends BullMQAdapter {
  override async getJob(id: string): Promise<Job | undefined> {
    const job = await super.getJob(id)
    return job && maskFailure(job)
  }

  override async getJobs(...range: Parameters<BullMQAdapter['getJobs']>): Promise<Job[]> {
    return (await super.getJobs(...range)).map(maskFailure)
  }

  override async getJobLogs(id: string): Promise<string[]> {
    return (await super.getJobLogs(id)).map((line) => maskText(line))
  }

  /** null: unknown. BullMQ does not list our consumer of `inbound` on Redis, so the board would show no worker. */
  override async getWorkers(): Promise<null> {
    return null
  }
}

/** Changes only the copy in memory: no action of the board writes these fields back. */
function maskFailure(job: Job): Job {
  if (job.failedReason) job.failedReason = maskText(job.failedReason)
  if (job.deferredFailure) job.deferredFailure = maskText(job.deferredFailure)
  if (job.stacktrace) job.stacktrace = job.stacktrace.map((stack) => maskText(stack, MAX_STACK_LENGTH))
  return job
}

/**
 * What `canWrite` allows. Left out: editing job data (the board has only a summary and would write that over the
 * event), adding jobs, deleting whole queues, and removing the schedulers that run failed jobs again.
 */
const ALLOWED_ACTIONS = new Set([
  '/api/queues/pause',
  '/api/queues/resume',
  '/api/queues/:queueName/pause',
  '/api/queues/:queueName/resume',
  '/api/queues/:queueName/concurrency',
  '/api/queues/:queueName/rate-limit',
  '/api/queues/:queueName/rate-limit/release',
  '/api/queues/:queueName/retry/:queueStatus',
  '/api/queues/:queueName/promote',
  '/api/queues/:queueName/clean/:queueStatus',
  '/api/queues/:queueName/job-schedulers/:schedulerId/run',
  '/api/queues/:queueName/:jobId/retry',
  '/api/queues/:queueName/:jobId/clean',
  '/api/queues/:queueName/:jobId/promote',
  '/api/queues/:queueName/:jobId/delay',
  '/api/queues/:queueName/:jobId/priority',
])

function createActionFilter(canWrite: boolean): BeforeHook {
  return ({ method, route, request }) => {
    if (method === 'get') return
    if (!canWrite) return { allow: false, status: 405, errorKey: 'ERRORS.QUEUE_READ_ONLY' }
    const isBulkLoss = route.endsWith('/clean/:queueStatus') && request.params.queueStatus !== 'completed'
    if (isBulkLoss || !ALLOWED_ACTIONS.has(route)) return { allow: false, status: 403, message: HARMFUL }
  }
}

const HARMFUL =
  'Not offered here: it could lose messages that were already acknowledged. Single jobs can be retried and removed.'
