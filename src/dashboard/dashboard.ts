/** The pages of the dashboard and their assets. Each page says who may see it; the admin router enforces that. */
import { fileURLToPath } from 'node:url'
import express, { type RequestHandler, Router } from 'express'
import { type ErrorPage, renderErrorPage } from './error-page.ts'
import { renderLayout } from './layout.ts'
import { navigationOf } from './navigation.ts'
import type { Layout, Page, PageAccess, PageDeps } from './page.ts'
import { PAGES } from './pages.ts'

const ASSETS_FOLDER = fileURLToPath(new URL('./assets', import.meta.url))

export type Dashboard = {
  pages: readonly ServedPage[]
  /** Public: the page that answers 401 needs them too. */
  assets: RequestHandler
  renderErrorPage: (page: ErrorPage) => string
}

export type ServedPage = {
  path: string
  access: PageAccess
  /** Whether the page answers the addresses below its path, too. */
  hasRoutesBelow: boolean
  handler: RequestHandler
}

export function createDashboard(deps: PageDeps, pages: readonly Page[] = PAGES): Dashboard {
  const navigation = navigationOf(pages)
  const layout: Layout = (page) => renderLayout({ ...page, navigation })
  return {
    pages: pages.map((page) => servePage(page, deps, layout)),
    assets: express.static(ASSETS_FOLDER, { index: false, redirect: false, maxAge: '1h' }),
    renderErrorPage: (page) => renderErrorPage(page, layout),
  }
}

function servePage(page: Page, deps: PageDeps, layout: Layout): ServedPage {
  const { path, access, title } = page
  if ('createRouter' in page) {
    return { path, access, hasRoutesBelow: true, handler: page.createRouter(deps, layout) }
  }
  const router = Router()
  router.get(path, async (_req, res) => {
    res.type('html').send(layout({ title, body: await page.render(deps) }))
  })
  return { path, access, hasRoutesBelow: false, handler: router }
}
