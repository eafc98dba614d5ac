/** Bull Board in a real browser. test/api/bull-board.test.ts tests its API. */
import { type Queue, UnrecoverableError } from 'bullmq'
import type { Page } from 'playwright-core'
import { beforeAll, expect, test } from 'vitest'
import { openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import {
  describeWithBrowser,
  startBrowser,
  type TestBrowser,
  type WindowOptions,
} from '../support/browser.ts'
import { cleanUp } from '../support/clean-up.ts'
import { metaTextWebhook, wamid } from '../support/meta-webhooks.ts'
import { ADMIN_PASSWORD, startService, type TestService } from '../support/service.ts'

const PRIVATE = { from: '15551239876', name: 'Private Name', text: 'private words of a person' }
const MARKUP = '<img src=x onerror=alert(1)>'

describeWithBrowser('Bull Board in a browser', () => {
  let service: TestService
  let browser: TestBrowser
  let inbound: Queue

  beforeAll(async () => {
    ;[service, browser] = await Promise.all([
      // Without a worker all jobs stay on the queue.
      startService({ backend: 'postgres', workers: 0 }),
      startBrowser(),
    ])
    const backend = openPostgresBackend({ databaseUrl: service.database.url, onError: () => {} })
    cleanUp(() => backend.close())
    inbound = backend.createQueue('inbound')
    const deliver = () => service.deliver(metaTextWebhook({ id: wamid(), ...PRIVATE }))

    await deliver()
    const worker = backend.createWorker('inbound', async () => {}, { concurrency: 1 })
    const job = await worker.getNextJob('token')
    await job!.moveToFailed(new UnrecoverableError(`cannot read "${PRIVATE.text}" as ${MARKUP}`), 'token')
    await worker.close()
    for (let index = 0; index < 3; index++) await deliver()
  })

  const open = async (path: string, options: WindowOptions = { password: ADMIN_PASSWORD }) => {
    const window = await browser.openWindow(options)
    const response = await window.page.goto(service.url + path)
    return { ...window, status: response?.status() }
  }

  test('cannot be opened without the password', async () => {
    const { page, status } = await open('/queues', { password: 'not-the-password' })

    expect(status).toBe(401)
    expect(await page.getByRole('heading').innerText()).toBe('Unauthorized')
  })

  test('is linked from the dashboard and back, and loads nothing from other sites without errors', async () => {
    const { page, origins, complaints } = await open('/')

    await page.getByRole('link', { name: 'Queues' }).click()
    await page.getByText('4 Jobs').waitFor()
    await page.locator('header').getByRole('button').last().click()
    await page.getByRole('menuitem', { name: 'Dashboard' }).click()

    expect(await page.getByRole('heading').innerText()).toBe('Overview')
    expect([...origins]).toEqual([service.url])
    expect(complaints).toEqual([])
  })

  test('shows the number and kind of jobs, no content of messages, and no text as markup', async () => {
    const { page, complaints } = await open('/queues/queue/inbound?status=waiting')
    await page.getByText('received_at').first().waitFor()
    const waiting = await page.content()
    await page.getByRole('link', { name: /^failed\s*1$/i }).click()
    await page.getByText(MARKUP).waitFor()

    const failed = await readEveryTab(page)

    for (const hidden of Object.values(PRIVATE)) expect(waiting + failed).not.toContain(hidden)
    expect(failed).toMatch(/^WAITING\s+3$/m)
    expect(failed).toContain('cannot read "…" as')
    expect(failed).toContain('payload_bytes')
    expect(complaints).toEqual([])
  })

  test('offers no action that changes something, and refuses requests for one', async () => {
    const { page } = await open('/queues/queue/inbound?status=failed')
    await page.getByText(MARKUP).waitFor()

    // The only buttons beside the tabs: copying the shown data, and the number of workers.
    const buttons = page.locator('main button:not([role=tab]):not(:has(.lucide-copy, .lucide-users))')
    const answers = await page.evaluate<number[]>(`Promise.all(
      ['inbound/pause', 'inbound/retry/failed', 'inbound/clean/failed', 'inbound/empty'].map(async (action) =>
        (await fetch('/queues/api/queues/' + action, { method: 'PUT' })).status))`)

    expect(await buttons.count()).toBe(0)
    expect(answers).toEqual([405, 405, 405, 405])
    expect(await inbound.isPaused()).toBe(false)
    expect(await inbound.getJobCounts('waiting', 'failed')).toEqual({ waiting: 3, failed: 1 })
  })
})

/** Of the one job on the page. */
async function readEveryTab(page: Page): Promise<string> {
  const texts: string[] = []
  for (const tab of await page.getByRole('tab').all()) {
    await tab.click()
    texts.push(await page.locator('main').innerText())
  }
  return texts.join('\n')
}
