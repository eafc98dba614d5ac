/** An Express app: one for the providers and one for the admin, or one for both on the same port. */
import express, { type Express, type RequestHandler, type Router } from 'express'
import { createErrorHandler, type ErrorHandlerDeps, notFound } from './problem.ts'

export type AppDeps = {
  /** In the order in which they see a request. */
  routers: readonly (Router | RequestHandler)[]
  trustProxy?: string | number | boolean | undefined
} & ErrorHandlerDeps

export function createApp({ routers, trustProxy, ...errorHandlerDeps }: AppDeps): Express {
  const app = express()
  app.disable('x-powered-by')
  app.set('etag', false)
  // Meta's `hub.verify_token` has a dot in its name: the simple parser keeps it as one key.
  app.set('query parser', 'simple')
  if (trustProxy !== undefined) app.set('trust proxy', trustProxy)
  app.use(noSniffing)
  for (const router of routers) app.use(router)
  app.use(notFound)
  app.use(createErrorHandler(errorHandlerDeps))
  return app
}

/** Keeps browsers from guessing the type of an answer. The admin router adds more headers to pages. */
const noSniffing: RequestHandler = (_req, res, next) => {
  res.setHeader('X-Content-Type-Options', 'nosniff')
  next()
}
