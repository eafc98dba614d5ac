/** The pages of the service in a real browser. test/dashboard tests their content. */
import type { Page } from 'playwright-core'
import { beforeAll, expect, test } from 'vitest'
import { mediaLinkPath } from '../../src/providers/twilio/media-link.ts'
import {
  describeWithBrowser,
  isWiderThanScreen,
  startBrowser,
  type TestBrowser,
  type WindowOptions,
} from '../support/browser.ts'
import { eventually } from '../support/eventually.ts'
import { bearerAuth, send } from '../support/http.ts'
import { metaTextWebhook, wamid } from '../support/meta-webhooks.ts'
import { hasRedis } from '../support/redis.ts'
import { ADMIN_PASSWORD, startService, type TestService, TWILIO_AUTH_TOKEN } from '../support/service.ts'

const API_TOKEN = 'token-of-the-tests'
/** Of somebody who tries. */
const ATTACK = {
  from: '15551230666',
  name: '<img src=x onerror="alert(1)">',
  text: '"><script>alert(2)</script>',
}
const password = ADMIN_PASSWORD

describeWithBrowser('the pages in a browser', () => {
  let service: TestService
  let browser: TestBrowser

  beforeAll(async () => {
    ;[service, browser] = await Promise.all([
      startService({ backend: hasRedis ? 'redis' : 'postgres', env: { API_TOKENS: API_TOKEN } }),
      startBrowser(),
    ])
    const attack = metaTextWebhook({ id: wamid(), ...ATTACK })
    const other = metaTextWebhook({ id: wamid() })
    for (const body of [attack, attack, other, attack]) await service.deliver(body)
  })

  const openAs = async (options: WindowOptions, path: string) => {
    const window = await browser.openWindow(options)
    const response = await window.page.goto(service.url + path)
    return { ...window, status: response?.status() }
  }

  test('the overview counts delivered, stored and duplicate events', async () => {
    const { page } = await openAs({ password }, '/')

    await eventually(async () => {
      await page.reload()
      expect(await tilesOf(page)).toEqual({
        Received: '4',
        Stored: '2',
        'Duplicates caught': '2',
        Merged: '0',
        Parked: '0',
        'Waiting right now': '0',
      })
    })
  })

  test('the overview cannot be opened without the password', async () => {
    const stranger = await browser.openWindow()
    // Without an answer to its password dialog, each browser behaves in another way.
    await stranger.page.goto(service.url).catch(() => {})
    const guesser = await openAs({ password: 'not-the-password' }, '/')

    expect(await tilesOf(stranger.page)).toEqual({})
    expect(await tilesOf(guesser.page)).toEqual({})
    expect(guesser.status).toBe(401)
    expect(await guesser.page.getByRole('heading').innerText()).toBe('Unauthorized')
    expect(guesser.complaints).toEqual([])
  })

  test('text of messages is shown as text and runs no script', async () => {
    const { page, complaints } = await openAs({ password }, '/api/conversations')
    await eventually(async () => {
      await page.reload()
      const { items } = JSON.parse(await page.locator('pre').innerText())
      expect(items).toContainEqual(
        expect.objectContaining({
          contact: expect.objectContaining({ name: ATTACK.name }),
          last_message: expect.objectContaining({ content: ATTACK.text }),
        }),
      )
    })

    for (const path of ['/', `/${encodeURIComponent(ATTACK.text)}`]) await page.goto(service.url + path)

    expect(complaints).toEqual([])
  })

  test.each([
    ['the overview', '/', 200],
    ['an error', '/unknown', 404],
  ])(
    '%s fits a phone, asks nobody else for anything and complains of nothing',
    async (_page, path, status) => {
      const window = await openAs({ password, isPhone: true }, path)

      expect(window.status).toBe(status)
      expect(await isWiderThanScreen(window.page)).toBe(false)
      expect([...window.origins]).toEqual([service.url])
      expect(window.complaints).toEqual([])
    },
  )

  test('links lead from an error to the overview, and on to metrics and health', async () => {
    const { page } = await openAs({ password }, '/unknown')
    const follow = (name: string) => page.getByRole('link', { name }).click()

    await follow('Go to the overview')
    expect(await page.getByRole('heading').innerText()).toBe('Overview')
    await follow('Metrics')
    expect(await page.locator('body').innerText()).toContain('# HELP wa_ingest_')
    await page.goBack()
    // The browser sends the password: without it the page would answer only "ok".
    await follow('Health')
    expect(await page.locator('body').innerText()).toContain('"name":"database"')
  })

  test('a keyboard user can skip the links', async () => {
    const { page } = await openAs({ password }, '/')
    const focus = page.locator(':focus')

    await page.keyboard.press('Tab')
    const link = { text: await focus.innerText(), top: (await focus.boundingBox())?.y }
    await page.keyboard.press('Enter')

    expect(link.text).toBe('Skip to content')
    expect(link.top).toBeGreaterThanOrEqual(0)
    expect(await focus.getAttribute('id')).toBe('content')
  })

  test('a link to an uploaded file saves the file and opens nothing', async () => {
    const upload = await send(`${service.url}/api/media?filename=page.html`, {
      method: 'POST',
      headers: { ...bearerAuth(API_TOKEN), 'content-type': 'text/plain' },
      body: '<script>alert(1)</script>',
    })
    const { id } = upload.json() as { id: string }
    const { page, complaints } = await browser.openWindow()

    const [download] = await Promise.all([
      page.waitForEvent('download', { timeout: 10_000 }),
      page.goto(service.url + mediaLinkPath(id, TWILIO_AUTH_TOKEN)).catch(() => {}),
    ])

    expect(download.suggestedFilename()).toBe('page.html')
    expect(page.url()).toBe('about:blank')
    expect(complaints).toEqual([])
  })
})

/** The name and the figure of each tile. */
async function tilesOf(page: Page): Promise<Record<string, string>> {
  const names = await page.getByRole('term').allInnerTexts()
  const values = await page.locator('.tile .value').allInnerTexts()
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
}
