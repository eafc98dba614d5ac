/** The pages of the dashboard and their assets. Who may see them is not decided here. */
import { fileURLToPath } from 'node:url'
import express, { type RequestHandler, Router } from 'express'
import { withDeadline } from '../core/deadline.ts'
import { type ErrorPage, renderErrorPage } from './error-page.ts'
import { renderOverviewPage, type Totals } from './overview-page.ts'

const READ_TIMEOUT_MS = 2_000
const ASSETS_FOLDER = fileURLToPath(new URL('./assets', import.meta.url))

export type DashboardDeps = {
  totals: () => Promise<Totals>
  waitingJobs: () => Promise<number>
}

export type Dashboard = {
  pages: RequestHandler
  /** Open to everybody: the page that says 401 needs them too. */
  assets: RequestHandler
  renderErrorPage: (page: ErrorPage) => string
}

export function createDashboard(deps: DashboardDeps): Dashboard {
  const pages = Router()
  pages.get('/', async (_req, res) => {
    const [totals, waitingJobs] = await Promise.all([
      orUndefined(deps.totals(), 'Reading the totals'),
      orUndefined(deps.waitingJobs(), 'Counting waiting jobs'),
    ])
    res.type('html').send(renderOverviewPage({ totals, waitingJobs }))
  })
  return {
    pages,
    assets: express.static(ASSETS_FOLDER, { index: false, redirect: false, maxAge: '1h' }),
    renderErrorPage,
  }
}

/** A page shows what it can: a store that is away costs its own figures only. Why it is away is for /health/ready. */
function orUndefined<T>(value: Promise<T>, what: string): Promise<T | undefined> {
  return withDeadline(value, READ_TIMEOUT_MS, what).catch(() => undefined)
}
