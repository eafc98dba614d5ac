/** A receiver with ADMIN_PORT: what strangers can request on the webhooks' port. */
import { beforeAll, describe, expect, test } from 'vitest'
import { basicAuth, bearerAuth, send } from '../support/http.ts'
import { findFreePort } from '../support/processes.ts'
import { ADMIN_PASSWORD, startService, type TestService } from '../support/service.ts'

const METRICS_TOKEN = 'metrics-token-of-the-port-tests'
const API_TOKEN = 'api-token-of-the-port-tests'
const VERIFY_TOKEN = 'test-verify-token'
const asAdmin = basicAuth('admin', ADMIN_PASSWORD)

let service: TestService
let adminUrl: string

beforeAll(async () => {
  const ADMIN_PORT = String(await findFreePort())
  service = await startService({
    backend: 'postgres',
    workers: 0,
    env: { ADMIN_PORT, METRICS_TOKEN, API_TOKENS: API_TOKEN },
  })
  adminUrl = `http://127.0.0.1:${ADMIN_PORT}`
})

const ask = (path: string, headers = {}) => send(service.url + path, { headers })

describe("the webhooks' port", () => {
  test('gives the same answers to a right and a wrong password, however many requests there are', async () => {
    const wrong = basicAuth('admin', 'guess')

    for (const path of ['/health/ready', '/health/live', '/metrics', '/', '/api/stats', '/queues']) {
      const [right, ...others] = await Promise.all(
        [asAdmin, {}, ...Array(12).fill(wrong)].map((headers) => ask(path, headers)),
      )
      for (const { status, text } of others)
        expect({ status, text }, path).toEqual({ status: right?.status, text: right?.text })
    }
  })

  test.each([
    ['nobody', {}],
    ['the admin', asAdmin],
    ['an API token', bearerAuth(API_TOKEN)],
  ])('tells %s whether it is ready, and nothing else', async (_who, headers) => {
    expect((await ask('/health/live', headers)).status).toBe(200)
    expect((await ask('/health/ready', headers)).json()).toEqual({ status: 'ok' })
  })

  test('serves metrics for METRICS_TOKEN only', async () => {
    const denied = await Promise.all(
      [{}, asAdmin, bearerAuth(API_TOKEN), bearerAuth('guess')].map((headers) => ask('/metrics', headers)),
    )

    expect(denied.map(({ status }) => status)).toEqual([401, 401, 401, 401])
    expect(denied[0]?.headers['www-authenticate']).toBe('Bearer realm="wa-ingest"')
    expect((await ask('/metrics', bearerAuth(METRICS_TOKEN))).text).toContain('wa_ingest_')
  })

  test('serves the handshake and no page', async () => {
    const query = `hub.mode=subscribe&hub.verify_token=${VERIFY_TOKEN}&hub.challenge=115820`

    expect(await ask(`/webhooks/meta?${query}`)).toMatchObject({ status: 200, text: '115820' })
    for (const path of ['/', '/queues', '/api/stats', '/assets/dashboard.css'])
      expect((await ask(path, asAdmin)).status, path).toBe(404)
  })
})

test("the admin's port accepts the password, and guesses on the other port do not block it", async () => {
  for (let guess = 0; guess < 12; guess++) await ask('/metrics', basicAuth('admin', 'guess'))

  const paths = ['/', '/api/stats', '/metrics', '/health/ready']
  const answers = await Promise.all(paths.map((path) => send(adminUrl + path, { headers: asAdmin })))

  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(answers[3]?.json()).toMatchObject({ checks: expect.any(Array) })
})

test("the admin's port accepts no webhooks", async () => {
  expect((await send(`${adminUrl}/webhooks/meta`, { method: 'POST', body: '{}' })).status).toBe(404)
})
