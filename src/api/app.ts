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
  for (const router of routers) app.use(router)
  app.use(notFound)
  app.use(createErrorHandler(errorHandlerDeps))
  return app
}
