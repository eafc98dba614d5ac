import express from 'express'
import { describe, expect, test } from 'vitest'
import { type CheckResult, createHealth, type HealthDeps } from '../../src/api/health.ts'
import { send, serve } from '../support/http.ts'

async function startApp(deps: Omit<HealthDeps, 'isAdmin'>) {
  const health = createHealth({ ...deps, isAdmin: (req) => req.get('x-admin') === 'yes' })
  const app = express()
  app.get('/live', health.live)
  app.get('/ready', health.ready)
  const url = await serve(app)
  return {
    live: () => send(`${url}/live`),
    ready: () => send(`${url}/ready`),
    readyForAdmin: () => send(`${url}/ready`, { headers: { 'x-admin': 'yes' } }),
  }
}

const good = { name: 'database', check: async () => ({ ok: true }) }
const unsafe = {
  name: 'queue',
  check: async () => ({ ok: true, findings: ['appendfsync is everysec; set always.'] }),
}
const refused = {
  name: 'queue',
  check: async (): Promise<CheckResult> => {
    throw new Error('connect ECONNREFUSED 127.0.0.1:6379')
  },
}
const hanging = { name: 'queue', check: () => new Promise<CheckResult>(() => {}) }

describe('GET /health/ready', () => {
  test('is 200 while every dependency answers', async () => {
    const { ready } = await startApp({ checks: [good, unsafe] })

    const response = await ready()

    expect(response.status).toBe(200)
    expect(response.headers['cache-control']).toBe('no-store')
  })

  test('is 503 when one dependency does not answer', async () => {
    const { ready } = await startApp({ checks: [good, refused] })

    expect((await ready()).status).toBe(503)
  })

  test('answers only yes or no without credentials', async () => {
    const bad = await startApp({ checks: [good, refused] })
    const fine = await startApp({ checks: [good, unsafe] })

    expect((await bad.ready()).json()).toEqual({ status: 'unavailable' })
    expect((await fine.ready()).json()).toEqual({ status: 'ok' })
  })

  test('names the dependency and the unsafe setting for the admin', async () => {
    const { readyForAdmin } = await startApp({ checks: [good, { ...unsafe, name: 'settings' }, refused] })

    expect((await readyForAdmin()).json()).toEqual({
      status: 'unavailable',
      checks: [
        { name: 'database', ok: true, findings: [], duration_ms: expect.any(Number) },
        {
          name: 'settings',
          ok: true,
          findings: ['appendfsync is everysec; set always.'],
          duration_ms: expect.any(Number),
        },
        {
          name: 'queue',
          ok: false,
          findings: ['connect ECONNREFUSED 127.0.0.1:6379'],
          duration_ms: expect.any(Number),
        },
      ],
    })
  })

  test('answers within seconds, however many dependencies hang', async () => {
    const checks = [hanging, { ...hanging, name: 'cache' }, good]
    const { readyForAdmin } = await startApp({ checks })

    const startedAt = performance.now()
    const response = await readyForAdmin()

    expect(response.status).toBe(503)
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(response.json()).toMatchObject({
      checks: [
        { ok: false, findings: ['The check "queue" took longer than 1000 ms'] },
        { ok: false },
        { ok: true },
      ],
    })
  })

  test('calls a hanging dependency once, not once for every probe', async () => {
    let asked = 0
    let time = 0
    const check = () => {
      asked++
      return new Promise<CheckResult>(() => {})
    }
    const { ready } = await startApp({ checks: [{ name: 'queue', check }], now: () => time })

    await ready()
    time += 5_000
    await ready()

    expect(asked).toBe(1)
  })

  test('runs the checks once for all probes within a second', async () => {
    let runs = 0
    let time = 0
    const check = async () => ({ ok: ++runs < 3 })
    const { ready } = await startApp({ checks: [{ name: 'database', check }], now: () => time })

    await Promise.all(Array.from({ length: 10 }, ready))
    time += 999
    await ready()
    const runsWithinTheSecond = runs
    time += 1
    const second = await ready()
    time += 1_000
    const third = await ready()

    expect(runsWithinTheSecond).toBe(1)
    expect([second.status, third.status]).toEqual([200, 503])
  })

  test('lets the process decide which dependency it needs', async () => {
    const checks = [good, refused]
    const { ready } = await startApp({ checks, isReady: (reports) => reports.some((report) => report.ok) })

    expect((await ready()).status).toBe(200)
  })
})

test('GET /health/live is 200 while every dependency is away', async () => {
  const { live } = await startApp({ checks: [hanging, refused] })

  const response = await live()

  expect(response.status).toBe(200)
  expect(response.json()).toEqual({ status: 'ok' })
})
