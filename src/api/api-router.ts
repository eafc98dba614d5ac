/**
 * The JSON API below /api, behind authentication and the same-origin guard. To add a route, describe it in a file of
 * routes/ and name its function in `createRoutes`: the OpenAPI document and the method checks follow from the
 * description.
 */
import express, { type Request, type RequestHandler, Router } from 'express'
import { isUnavailable } from '../db/errors.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ApiRoute } from './api-route.ts'
import { createChangeStreams } from './change-stream.ts'
import { hasBody, isDeclaredJson, keepExactText, notJson } from './json-body.ts'
import { describeApi } from './openapi.ts'
import { ProblemError } from './problem.ts'
import { changeRoutes } from './routes/changes.ts'
import { conversationRoutes } from './routes/conversations.ts'
import { mediaRoutes } from './routes/media.ts'
import { messageRoutes } from './routes/messages.ts'
import { openApiRoute } from './routes/openapi.ts'
import { statsRoutes } from './routes/stats.ts'

const MAX_BODY_BYTES = 1024 * 1024

export type ApiRouter = {
  router: Router
  /** Whether the body of this request may be a file; for the guard in front of the API. */
  takesFile: (req: Request) => boolean
}

export function createApiRouter(deps: ApiDeps): ApiRouter {
  const routes = createRoutes(deps)
  return { router: createRouter(routes), takesFile: (req) => routes.some((route) => isFileFor(route, req)) }
}

function createRouter(routes: readonly ApiRoute[]): Router {
  const router = Router()
  router.use(express.json({ limit: MAX_BODY_BYTES, type: isDeclaredJson, verify: keepExactText }))
  for (const { path, method, file, handler } of routes)
    router[method](path, file === undefined ? refuseOtherBodies : passFile, whenAvailable(handler))
  for (const path of new Set(routes.map((route) => route.path)))
    router.all(path, refuseMethod(routes.filter((route) => route.path === path)))
  return router
}

function createRoutes(deps: ApiDeps): ApiRoute[] {
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

/** Without this check, a body of another type would be ignored as if the client had sent none. */
const refuseOtherBodies: RequestHandler = (req, _res, next) => {
  next(hasBody(req) && !isDeclaredJson(req) ? notJson() : undefined)
}

/** The handler reads the body. */
const passFile: RequestHandler = (_req, _res, next) => next()

/** Compares the path as it is written, so a route that takes files has no parameters in its path. */
function isFileFor({ file, method, path }: ApiRoute, req: Request): boolean {
  return file !== undefined && req.method === method.toUpperCase() && req.path === path
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
