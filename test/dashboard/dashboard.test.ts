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

/** What a reader sees: the name and the figure of each tile. */
function tilesOf(page: string): Record<string, string> {
  const tiles = page.matchAll(/<dt>(.*?)<\/dt><dd class="value">(.*?)<\/dd>/g)
  return Object.fromEntries([...tiles].map(([, name, value]) => [name, value!.replace(/<[^>]*>/g, '')]))
}

describe('the overview', () => {
  test('shows the totals and what waits', async () => {
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

  test('leads to the queues, the health report and the metrics', async () => {
    const { page } = await openPage()

    for (const path of ['/queues', '/health/ready', '/metrics']) expect(page.text).toContain(`href="${path}"`)
  })

  test('shows the rest when the database is away', async () => {
    const { page } = await openPage({ totals: () => Promise.reject(new Error('connect ECONNREFUSED')) })

    expect(page.status).toBe(200)
    expect(page.text).toContain('The totals cannot be read right now.')
    expect(page.text).not.toContain('ECONNREFUSED')
    expect(tilesOf(page.text)).toMatchObject({ 'Waiting right now': '42', Stored: '–' })
  })

  test('shows the rest within seconds when the queue hangs', async () => {
    const { page } = await openPage({ waitingJobs: () => new Promise(() => {}) })

    expect(page.text).toContain('The queue does not answer right now.')
    expect(tilesOf(page.text)).toMatchObject({ 'Waiting right now': '–', Stored: '1,000,000' })
  })

  test('tells somebody who has no message yet how to get some', async () => {
    const empty = { received: 0, stored: 0, duplicates: { queue: 0, database: 0 }, merged: 0, parked: 0 }

    const fresh = await openPage({ totals: async () => empty })
    const used = await openPage()

    expect(fresh.page.text).toContain('npx wa-ingest simulate')
    expect(used.page.text).not.toContain('npx wa-ingest simulate')
  })

  test('needs no script and no style of its own, and finds its files', async () => {
    const { url, page } = await openPage()

    expect(page.text).not.toMatch(/<script|<style|style=|\son\w+=/)
    const files = [...page.text.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map((hit) => hit[1])
    for (const file of new Set(files)) expect((await send(`${url}${file}`)).status, file).toBe(200)
  })
})

test('an error page shows text from outside as text', () => {
  const page = createDashboard(deps).renderErrorPage({
    status: 404,
    title: 'Not "Found"',
    detail: '<script>alert(1)</script> & more',
  })

  expect(page).toContain('&#60;script&#62;alert(1)&#60;/script&#62; &#38; more')
  expect(page).toContain('<title>Not &#34;Found&#34; · wa-ingest</title>')
})
