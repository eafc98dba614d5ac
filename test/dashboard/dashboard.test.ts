import express from 'express'
import { describe, expect, test } from 'vitest'
import { createDashboard } from '../../src/dashboard/dashboard.ts'
import type { PageDeps } from '../../src/dashboard/page.ts'
import { send, serve } from '../support/http.ts'

const totals = {
  received: 1_234_567,
  stored: 1_000_000,
  duplicates: { queue: 34_000, database: 200_000 },
  merged: 500,
  parked: 67,
}

const deps: PageDeps = { totals: async () => totals, waitingJobs: async () => 42 }

async function openPage(overrides: Partial<PageDeps> = {}) {
  const dashboard = createDashboard({ ...deps, ...overrides })
  const app = express()
  app.use('/assets', dashboard.assets)
  for (const { handler } of dashboard.pages) app.use(handler)
  const url = await serve(app)
  return { url, page: await send(url) }
}

/** The name and the figure of each tile, as a reader sees them. */
function tilesOf(page: string): Record<string, string> {
  const tiles = page.matchAll(/<dt>(.*?)<\/dt><dd class="value">(.*?)<\/dd>/g)
  return Object.fromEntries([...tiles].map(([, name, value]) => [name, value!.replace(/<[^>]*>/g, '')]))
}

describe('the overview', () => {
  test('shows the totals and the number of waiting jobs', async () => {
    const { page } = await openPage()

    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(tilesOf(page.text)).toEqual({
      'Waiting right now': '42',
      Received: '1,234,567',
      Stored: '1,000,000',
      'Duplicates caught': '234,000',
      Merged: '500',
      Parked: '67',
    })
    expect(page.text).toContain('200,000 by the database, about 34,000 by the queue.')
  })

  test('links to the queues, the health report and the metrics', async () => {
    const { page } = await openPage()

    for (const path of ['/queues', '/health/ready', '/metrics']) expect(page.text).toContain(`href="${path}"`)
  })

  test('shows the other figures while the database is away', async () => {
    const { page } = await openPage({ totals: () => Promise.reject(new Error('connect ECONNREFUSED')) })

    expect(page.status).toBe(200)
    expect(page.text).toContain('The totals cannot be read right now.')
    expect(page.text).not.toContain('ECONNREFUSED')
    expect(tilesOf(page.text)).toMatchObject({ 'Waiting right now': '42', Stored: '–' })
  })

  test('shows the other figures within seconds while the queue hangs', async () => {
    const { page } = await openPage({ waitingJobs: () => new Promise(() => {}) })

    expect(page.text).toContain('The queue does not answer right now.')
    expect(tilesOf(page.text)).toMatchObject({ 'Waiting right now': '–', Stored: '1,000,000' })
  })

  test('shows how to send test messages while there are none', async () => {
    const empty = { received: 0, stored: 0, duplicates: { queue: 0, database: 0 }, merged: 0, parked: 0 }

    const fresh = await openPage({ totals: async () => empty })
    const used = await openPage()

    expect(fresh.page.text).toContain('npx wa-ingest simulate')
    expect(used.page.text).not.toContain('npx wa-ingest simulate')
  })

  test('has no inline script or style, and its assets exist', async () => {
    const { url, page } = await openPage()

    expect(page.text).not.toMatch(/<script|<style|style=|\son\w+=/)
    const files = [...page.text.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map((hit) => hit[1])
    for (const file of new Set(files)) expect((await send(`${url}${file}`)).status, file).toBe(200)
  })
})

test('an error page escapes text from outside', () => {
  const page = createDashboard(deps).renderErrorPage({
    status: 404,
    title: 'Not "Found"',
    detail: '<script>alert(1)</script> & more',
  })

  expect(page).toContain('&#60;script&#62;alert(1)&#60;/script&#62; &#38; more')
  expect(page).toContain('<title>Not &#34;Found&#34; · wa-ingest</title>')
})
