/** The JSON API below /api. Goes behind authentication and the same-origin guard. */
import express, { type Request, type RequestHandler, Router } from 'express'
import { isUnavailable } from '../db/unavailable.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ApiRoute } from './api-route.ts'
import { createChangeStreams } from './change-stream.ts'
import { hasBody, isDeclaredJson, notJson } from './json-body.ts'
import { describeApi } from './openapi.ts'
import { ProblemError } from './problem.ts'
import { changeRoutes } from './routes/changes.ts'
import { conversationRoutes } from './routes/conversations.ts'
import { mediaRoutes } from './routes/media.ts'
import { messageRoutes } from './routes/messages.ts'
import { openApiRoute } from './routes/openapi.ts'
import { statsRoutes } from './routes/stats.ts'

const MAX_BODY_BYTES = 1024 * 1024

export function createApiRouter(deps: ApiDeps): Router {
  const routes = createApiRoutes(deps)
  const router = Router()
  router.use(express.json({ limit: MAX_BODY_BYTES, type: isDeclaredJson }))
  for (const { path, method, file, handler } of routes)
    router[method](path, file === undefined ? refuseOtherBodies : passFile, whenAvailable(handler))
  for (const path of new Set(routes.map((route) => route.path)))
    router.all(path, refuseMethod(routes.filter((route) => route.path === path)))
  return router
}

/** Every route, with its description. */
function createApiRoutes(deps: ApiDeps): ApiRoute[] {
  const { db, signal, log } = deps
  const routes = [
    ...conversationRoutes(deps),
    ...messageRoutes(deps),
    ...mediaRoutes(deps),
    ...changeRoutes({ db, streams: createChangeStreams({ db, signal, log }) }),
    ...statsRoutes(deps),
  ]
  const document = openApiRoute(() => describeApi([...routes, document]))
  return [...routes, document]
}

/** A body that was not read would pass for one that was not sent. */
const refuseOtherBodies: RequestHandler = (req, _res, next) => {
  next(hasBody(req) && !isDeclaredJson(req) ? notJson() : undefined)
}

/** The handler reads it. */
const passFile: RequestHandler = (_req, _res, next) => next()

/** Where a body may be a file, for the guard in front of the API. */
export function takesFile(req: Request): boolean {
  return req.method === 'POST' && req.path === '/media'
}

function whenAvailable(handler: RequestHandler): RequestHandler {
  return async (req, res, next) => {
    try {
      await handler(req, res, next)
    } catch (cause) {
      if (!isUnavailable(cause)) throw cause
      const detail = 'The database does not answer right now: see /health/ready.'
      throw new ProblemError({ status: 503, detail, headers: { 'Retry-After': '5' } }, { cause })
    }
  }
}

function refuseMethod(routes: readonly ApiRoute[]): RequestHandler {
  const methods = routes.map((route) => route.method.toUpperCase())
  const allow = (methods.includes('GET') ? [...methods, 'HEAD'] : methods).join(', ')
  return (req, res, next) => {
    if (req.method === 'OPTIONS') return void res.status(204).set('Allow', allow).end()
    next(
      new ProblemError({
        status: 405,
        detail: `Only ${allow} can be asked for here.`,
        headers: { Allow: allow },
      }),
    )
  }
}
