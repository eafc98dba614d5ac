import express from 'express'
import { describe, expect, test } from 'vitest'
import { createErrorHandler } from '../../src/api/problem.ts'
import { createSameOriginGuard } from '../../src/api/same-origin.ts'
import { type HttpRequest, send, serve } from '../support/http.ts'
import { captureLog } from './captured-log.ts'

const PUBLIC_URL = 'https://wa.example.com'

async function startApp(options: { isExempt?: boolean; trustProxy?: number; publicUrl?: string } = {}) {
  const app = express()
  if (options.trustProxy !== undefined) app.set('trust proxy', options.trustProxy)
  app.use(createSameOriginGuard({ publicUrl: options.publicUrl, isExempt: () => options.isExempt === true }))
  app.use((_req, res) => void res.send('done'))
  app.use(createErrorHandler({ log: captureLog().log }))
  const url = await serve(app)
  return { url, host: new URL(url).host, ask: (request: HttpRequest) => send(url, request) }
}

const body = { text: 'hello' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }

describe('a request that changes something', () => {
  test.each<[string, HttpRequest, number]>([
    ['from our page', { method: 'POST', body, headers: { 'sec-fetch-site': 'same-origin' } }, 200],
    ['from our page, without body', { method: 'PUT', headers: { 'sec-fetch-site': 'same-origin' } }, 200],
    ['from another site', { method: 'POST', body, headers: { 'sec-fetch-site': 'cross-site' } }, 403],
    [
      'from a neighbouring subdomain',
      { method: 'POST', body, headers: { 'sec-fetch-site': 'same-site' } },
      403,
    ],
    ['typed by the user', { method: 'POST', body, headers: { 'sec-fetch-site': 'none' } }, 403],
    ['with an empty Sec-Fetch-Site', { method: 'POST', body, headers: { 'sec-fetch-site': '' } }, 403],
    ['with a foreign Origin', { method: 'POST', body, headers: { origin: 'https://evil.example' } }, 403],
    [
      'with a foreign Origin that ends like ours',
      { method: 'POST', body, headers: { origin: `${PUBLIC_URL}.evil.example` } },
      403,
    ],
    ['with the Origin of a sandboxed frame', { method: 'POST', body, headers: { origin: 'null' } }, 403],
    ['with the Origin of a file', { method: 'POST', body, headers: { origin: 'file://' } }, 403],
    [
      'with a foreign Origin and DELETE',
      { method: 'DELETE', headers: { origin: 'https://evil.example' } },
      403,
    ],
    ['with the public Origin', { method: 'POST', body, headers: { origin: PUBLIC_URL } }, 200],
    ['with JSON and neither header', { method: 'POST', body }, 200],
    [
      'with JSON of a named character set',
      { method: 'POST', body: '{}', headers: { 'content-type': 'Application/JSON; charset=utf-8' } },
      200,
    ],
    ['with a method that needs a preflight and neither header', { method: 'DELETE' }, 200],
    ['with POST, no body and neither header', { method: 'POST' }, 403],
    [
      'with POST, no body, declared as JSON',
      { method: 'POST', headers: { 'content-type': 'application/json' } },
      200,
    ],
    ['from a form', { method: 'POST', body: 'a=1', headers: form }, 415],
    ['from an empty form and neither header', { method: 'POST', headers: form }, 403],
    [
      'from a form on our page',
      { method: 'POST', body: 'a=1', headers: { ...form, 'sec-fetch-site': 'same-origin' } },
      415,
    ],
    [
      'with JSON under a type that needs no preflight',
      { method: 'POST', body: '{}', headers: { 'content-type': 'text/plain; application/json' } },
      415,
    ],
    ['with a body of no type', { method: 'POST', body: '{}' }, 415],
    [
      'with a body of unknown length from a form',
      { method: 'POST', headers: { ...form, 'transfer-encoding': 'chunked' } },
      415,
    ],
  ])('%s', async (_name, request, status) => {
    const { ask } = await startApp({ publicUrl: PUBLIC_URL })

    expect((await ask(request)).status).toBe(status)
  })

  test('is accepted with the Origin of the requested port, as on ADMIN_PORT', async () => {
    const { ask, host } = await startApp({ publicUrl: PUBLIC_URL })

    expect((await ask({ method: 'POST', body, headers: { origin: `http://${host}` } })).status).toBe(200)
    expect((await ask({ method: 'POST', body, headers: { origin: 'http://127.0.0.1:1' } })).status).toBe(403)
  })

  test('is accepted behind a proxy that keeps Host, with or without the default port', async () => {
    const { ask } = await startApp()

    for (const host of ['wa.example.com', 'wa.example.com:443', 'WA.example.com'])
      expect((await ask({ method: 'POST', body, headers: { host, origin: PUBLIC_URL } })).status).toBe(200)
  })

  test('is accepted behind a proxy that changes Host: by PUBLIC_URL, or by X-Forwarded-Host of a trusted proxy', async () => {
    const forwarded = { host: 'api:3000', 'x-forwarded-host': 'wa.example.com', origin: PUBLIC_URL }
    const known = await startApp({ publicUrl: `${PUBLIC_URL}/` })
    const trusted = await startApp({ trustProxy: 1 })
    const neither = await startApp()

    expect((await known.ask({ method: 'POST', body, headers: forwarded })).status).toBe(200)
    expect((await trusted.ask({ method: 'POST', body, headers: forwarded })).status).toBe(200)
    expect((await neither.ask({ method: 'POST', body, headers: forwarded })).status).toBe(403)
  })

  test('is accepted with a bearer token from any site', async () => {
    const { ask } = await startApp({ isExempt: true })

    expect((await ask({ method: 'POST', body, headers: { origin: 'https://evil.example' } })).status).toBe(
      200,
    )
  })

  test('is refused with the next step', async () => {
    const { ask } = await startApp()

    expect((await ask({ method: 'POST' })).json()).toMatchObject({
      detail: expect.stringContaining('Content-Type: application/json'),
    })
  })
})

test.each(['GET', 'HEAD', 'OPTIONS'])('%s is always accepted, because it changes nothing', async (method) => {
  const { ask } = await startApp()

  expect((await ask({ method, headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(200)
})
