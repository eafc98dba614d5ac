/** The Express apps: one for the providers, one for the admin, or both on one port. */
import express, { type Express, type RequestHandler, type Router } from 'express'
import { createErrorHandler, type ErrorHandlerDeps, notFound } from './problem.ts'

export type AppDeps = {
  /** In this order. */
  routers: readonly (Router | RequestHandler)[]
  trustProxy?: string | number | boolean | undefined
} & ErrorHandlerDeps

export function createApp({ routers, trustProxy, ...errorHandlerDeps }: AppDeps): Express {
  const app = express()
  app.disable('x-powered-by')
  app.set('etag', false)
  // Keys such as `hub.verify_token` hold dots and must stay as they are.
  app.set('query parser', 'simple')
  if (trustProxy !== undefined) app.set('trust proxy', trustProxy)
  app.use(noSniffing)
  for (const router of routers) app.use(router)
  app.use(notFound)
  app.use(createErrorHandler(errorHandlerDeps))
  return app
}

/** No browser takes an answer for something else than it says it is. Pages get more headers where they are served. */
const noSniffing: RequestHandler = (_req, res, next) => {
  res.setHeader('X-Content-Type-Options', 'nosniff')
  next()
}
