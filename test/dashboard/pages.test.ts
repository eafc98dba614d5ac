import { Router } from 'express'
import { describe, expect, test } from 'vitest'
import { html } from '../../src/dashboard/html.ts'
import type { Page } from '../../src/dashboard/page.ts'
import { PAGES } from '../../src/dashboard/pages.ts'
import { asAdmin, startAdminApp, withApiToken } from '../api/admin-app.ts'
import { type HttpRequest, send } from '../support/http.ts'

const invented: Page = {
  path: '/invented',
  title: 'Invented',
  access: 'admin',
  navigationLabel: 'Invented page',
  render: async ({ waitingJobs }) => html`<h1>${await waitingJobs()} waiting</h1>`,
}

const notes: Page = {
  path: '/notes',
  title: 'Notes',
  access: 'admin',
  createRouter: (_deps, layout) => {
    const router = Router()
    router.get('/', (_req, res) => void res.type('html').send(layout({ title: 'Notes', body: html`Empty` })))
    router.post('/new', (_req, res) => void res.status(201).send('written'))
    return router
  },
}

async function startWith(page: Page) {
  const { url } = await startAdminApp({ pages: [...PAGES, page] })
  return (path: string, request: HttpRequest = { headers: asAdmin }) => send(`${url}${path}`, request)
}

describe('a page that is added to the list', () => {
  test('is served inside the layout, under its title', async () => {
    const ask = await startWith(invented)

    const response = await ask('/invented')

    expect(response.status).toBe(200)
    expect(response.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(response.text).toContain('<title>Invented · wa-ingest</title>')
    expect(response.text).toContain('<h1>42 waiting</h1>')
  })

  test('has its link in the navigation of every page, of error pages too', async () => {
    const ask = await startWith(invented)

    const pages = await Promise.all(
      ['/', '/invented', '/unknown'].map((path) =>
        ask(path, { headers: { ...asAdmin, accept: 'text/html' } }),
      ),
    )

    expect(pages.map(({ status }) => status)).toEqual([200, 200, 404])
    for (const { text } of pages) expect(text).toContain('<li><a href="/invented">Invented page</a></li>')
  })

  test('has no link without a label', async () => {
    const ask = await startWith(notes)

    expect((await ask('/')).text).not.toContain('href="/notes"')
  })

  test('is shown to the admin only', async () => {
    const ask = await startWith(invented)

    const answers = await Promise.all([{}, withApiToken].map((headers) => ask('/invented', { headers })))

    expect(answers.map(({ status }) => status)).toEqual([401, 401])
    expect(answers.map(({ text }) => text.includes('waiting'))).toEqual([false, false])
  })

  test('covers no other address', async () => {
    const ask = await startWith(invented)

    expect((await ask('/invented/other', {})).status).toBe(404)
  })

  test('may have forms and addresses of its own, which are protected like the page', async () => {
    const ask = await startWith(notes)
    const sameOrigin = { ...asAdmin, 'sec-fetch-site': 'same-origin' }
    const foreign = { ...asAdmin, origin: 'https://evil.example' }
    const post = (headers: Record<string, string>) => ask('/notes/new', { method: 'POST', headers })

    const answers = await Promise.all([{}, foreign, sameOrigin].map(post))

    expect(answers.map(({ status }) => status)).toEqual([401, 403, 201])
    expect((await ask('/notes')).text).toContain('<title>Notes · wa-ingest</title>')
  })
})

test('every page has an address of its own', () => {
  const paths = PAGES.map(({ path }) => path)

  expect(new Set(paths).size).toBe(paths.length)
  expect(paths.filter((path) => !/^\/(?:[a-z0-9-]+(?:\/[a-z0-9-]+)*)?$/.test(path))).toEqual([])
})
