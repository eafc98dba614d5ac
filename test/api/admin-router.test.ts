import { describe, expect, test } from 'vitest'
import { send } from '../support/http.ts'
import { asAdmin, startAdminApp, TOTALS, withApiToken, withMetricsToken } from './admin-app.ts'

const OPEN = [200, 200, 200, 200]
const ADMIN_ONLY = [401, 200, 401, 401]

describe('access to each route', () => {
  test.each([
    // Without credentials, with the admin's password, with an API token, with the metrics token.
    ['/', ADMIN_ONLY],
    ['/queues', ADMIN_ONLY],
    ['/queues/api/queues', ADMIN_ONLY],
    ['/queues/static/favicon.ico', ADMIN_ONLY],
    ['/api/stats', [401, 200, 200, 401]],
    ['/api/unknown', [401, 404, 404, 401]],
    ['/metrics', [401, 200, 401, 200]],
    ['/health/live', OPEN],
    ['/health/ready', OPEN],
    ['/assets/dashboard.css', OPEN],
    ['/unknown', [404, 404, 404, 404]],
  ])('%s', async (path, statuses) => {
    const { url } = await startAdminApp()

    const answers = await Promise.all(
      [{}, asAdmin, withApiToken, withMetricsToken].map((headers) => send(`${url}${path}`, { headers })),
    )

    expect(answers.map((answer) => answer.status)).toEqual(statuses)
  })

  test('every answer carries the headers that keep browsers safe', async () => {
    const { url } = await startAdminApp()

    for (const path of ['/', '/queues', '/api/stats', '/metrics', '/health/ready', '/unknown']) {
      const { headers } = await send(`${url}${path}`, { headers: asAdmin })
      expect(headers['content-security-policy'], path).toContain("default-src 'none'")
      expect(headers['content-security-policy'], path).toContain("frame-ancestors 'none'")
      expect(headers['x-content-type-options'], path).toBe('nosniff')
      expect(headers['referrer-policy'], path).toBe('no-referrer')
      expect(headers['x-powered-by'], path).toBeUndefined()
      expect(headers['strict-transport-security'], path).toBeUndefined()
    }
  })

  test('only the admin and API tokens see which dependency is down', async () => {
    const checks = [{ name: 'database', check: async () => ({ ok: false, findings: ['no connection'] }) }]
    const { url } = await startAdminApp({ health: { checks } })

    const answers = await Promise.all(
      [{}, withMetricsToken, asAdmin, withApiToken].map((headers) =>
        send(`${url}/health/ready`, { headers }),
      ),
    )

    expect(answers.map((answer) => answer.status)).toEqual([503, 503, 503, 503])
    expect(answers.map((answer) => answer.text.includes('no connection'))).toEqual([false, false, true, true])
  })
})

describe('GET /api/stats', () => {
  test('answers the totals', async () => {
    const { url } = await startAdminApp()

    const response = await send(`${url}/api/stats`, { headers: withApiToken })

    expect(response.json()).toEqual(TOTALS)
    expect(response.headers['cache-control']).toBe('no-store')
  })

  test.each([
    ['fails', () => Promise.reject(new Error('connect ECONNREFUSED'))],
    ['hangs', () => new Promise<never>(() => {})],
  ])('is 503 when the database %s, and the cause is in the log', async (_name, stats) => {
    const { url, logLines } = await startAdminApp({ stats })

    const response = await send(`${url}/api/stats`, { headers: asAdmin })

    expect(response.status).toBe(503)
    expect(response.headers['content-type']).toMatch('application/problem+json')
    expect(response.text).not.toContain('ECONNREFUSED')
    expect(logLines()).toMatchObject([{ level: 'error', msg: 'request failed' }])
  })
})

test('requests that another site causes are refused before they reach a handler', async () => {
  const { url } = await startAdminApp()
  const foreign = { ...asAdmin, origin: 'https://evil.example' }

  for (const path of ['/', '/api/stats', '/queues/api/queues/pause'])
    expect((await send(`${url}${path}`, { method: 'POST', headers: foreign })).status, path).toBe(403)
})

test('each route has its own name in the metrics', async () => {
  const { url } = await startAdminApp()

  for (const path of [
    '/',
    '/queues',
    '/queues/api/queues',
    '/api/stats',
    '/assets/dashboard.css',
    '/unknown',
  ])
    await send(`${url}${path}`, { headers: asAdmin })
  const { text } = await send(`${url}/metrics`, { headers: asAdmin })

  const routes = [...text.matchAll(/wa_ingest_http_request_seconds_count\{.*route="([^"]*)"/g)].map(
    (hit) => hit[1],
  )
  expect(routes.sort()).toEqual(['/', '/api/stats', '/queues/', '/queues/api/queues', 'other', 'other'])
})
