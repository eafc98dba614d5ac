/** Opens pages in a real Chromium, and records everything that a page should not do. */
import { type Browser, type BrowserContext, chromium, type Page, type Request } from 'playwright-core'
import { describe } from 'vitest'
import { cleanUp } from './clean-up.ts'
import { findOnPath } from './find-on-path.ts'

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome']
const COMPUTER = { viewport: { width: 1280, height: 800 } }
/** A narrow one. */
const PHONE = { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true }

const program = findOnPath(PROGRAMS)

if (program === undefined)
  process.stderr.write(
    `\n  NO CHROMIUM: every suite that needs it is SKIPPED. It is looked for on PATH as ${PROGRAMS.join(', ')}.\n\n`,
  )

/** `describe` for suites that need a browser; skipped if there is none. */
export const describeWithBrowser = describe.skipIf(program === undefined)

export type BrowserWindow = {
  page: Page
  /** Dialogs, errors of scripts, resources that a policy has blocked, and resources that could not be loaded. */
  complaints: readonly string[]
  /** Hosts from which the pages have requested something. */
  origins: ReadonlySet<string>
}

export type WindowOptions = {
  /** Password of `admin`, for pages that ask for it. */
  password?: string
  /** Default: that of a computer. */
  isPhone?: boolean
}

export type TestBrowser = {
  /** Shares nothing with other windows, not even a password. Closed with the test. */
  openWindow(options?: WindowOptions): Promise<BrowserWindow>
}

/** Closed with the test (outside of a test: the file); ends by itself when the process is killed that started it. */
export async function startBrowser(): Promise<TestBrowser> {
  if (program === undefined) throw new Error('no Chromium: guard the suite with describeWithBrowser')
  const isRoot = process.getuid?.() === 0
  const browser = await chromium.launch({
    executablePath: program,
    // Chromium's sandbox does not start as root.
    args: isRoot ? ['--no-sandbox'] : [],
  })
  cleanUp(() => browser.close())
  return { openWindow: (options) => openWindow(browser, options) }
}

/** Whether the page is wider than the window. */
export async function isWiderThanScreen(page: Page): Promise<boolean> {
  const width = await page.evaluate<number>('document.documentElement.scrollWidth')
  return width > (page.viewportSize()?.width ?? 0)
}

async function openWindow(
  browser: Browser,
  { password, isPhone = false }: WindowOptions = {},
): Promise<BrowserWindow> {
  const context = await browser.newContext({
    ...(isPhone ? PHONE : COMPUTER),
    ...(password === undefined ? {} : { httpCredentials: { username: 'admin', password } }),
  })
  cleanUp(() => context.close())
  const origins = new Set<string>()
  context.on('request', (request) => origins.add(new URL(request.url()).origin))
  return { page: await context.newPage(), complaints: watchForComplaints(context), origins }
}

function watchForComplaints(context: BrowserContext): readonly string[] {
  const complaints: string[] = []
  context.on('dialog', async (dialog) => {
    complaints.push(`${dialog.type()}: ${dialog.message()}`)
    await dialog.dismiss()
  })
  context.on('weberror', (found) => complaints.push(String(found.error())))
  context.on('console', (message) => {
    // Tells of pages as well, whose status is for the test to judge, and of an icon that it has thought of by itself.
    const isAboutLoading = message.text().startsWith('Failed to load resource')
    if (message.type() === 'error' && !isAboutLoading) complaints.push(message.text())
  })
  const noteLoad = (request: Request, problem: string) => {
    // The browser cancels the requests of a page that is left.
    if (request.isNavigationRequest() || problem === 'net::ERR_ABORTED') return
    complaints.push(`${request.method()} ${request.url()}: ${problem}`)
  }
  context.on('requestfailed', (request) => noteLoad(request, request.failure()?.errorText ?? 'failed'))
  context.on('response', (response) => {
    if (response.status() >= 400) noteLoad(response.request(), `status ${response.status()}`)
  })
  return complaints
}
