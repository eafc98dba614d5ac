/** What a page of the dashboard is. The list of all pages is pages.ts. */
import type { RequestHandler } from 'express'
import type { Stats } from '../db/views/stats.ts'
import type { Html } from './html.ts'

/** What pages read. Each page declares the part that it uses. */
export type PageDeps = {
  totals: () => Promise<Totals>
  waitingJobs: () => Promise<number>
}

/** Totals since the database was created. */
export type Totals = Omit<Stats, 'unknown_sends'>

/** Who may open a page. The admin router has one guard for each word. */
export type PageAccess = 'admin'

export type Page = {
  /** Starts with a slash and has none at its end. */
  path: string
  title: string
  access: PageAccess
  /** Label of the link in the navigation; a page without a label has no link there. */
  navigationLabel?: string
} & (PageBody | PageRoutes)

/** A page at one address: the handler of GET sends what `render` returns inside the layout. */
type PageBody = { render: (deps: PageDeps) => Html | Promise<Html> }

/** A page with forms or addresses of its own: it answers every request at and below its path. */
type PageRoutes = { createRouter: (deps: PageDeps, layout: Layout) => RequestHandler }

/** Puts the body of a page into the layout, with the navigation. */
export type Layout = (page: { title: string; body: Html }) => string
