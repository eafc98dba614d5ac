/**
 * Every page of the dashboard. To add one, write its file and name it here: it is then served, protected and linked.
 */
import { overviewPage } from './overview-page.ts'
import type { Page } from './page.ts'

export const PAGES: readonly Page[] = [overviewPage]
