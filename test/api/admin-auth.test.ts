import express from 'express'
import { describe, expect, test } from 'vitest'
import { type AdminAuthDeps, createAdminAuth } from '../../src/api/admin-auth.ts'
import { createErrorHandler } from '../../src/api/problem.ts'
import { basicAuth, bearerAuth, type HttpRequest, send, serve } from '../support/http.ts'
import { captureLog } from './captured-log.ts'

const USER = 'admin'
const PASSWORD = 'pässwörd:with:colons'
const right = basicAuth(USER, PASSWORD)
const wrong = basicAuth(USER, 'guess')
const MINUTE = 60_000

async function startApp(overrides: Partial<AdminAuthDeps> & { trustProxy?: number } = {}) {
  const { log, lines } = captureLog()
  const auth = createAdminAuth({
    user: USER,
    password: PASSWORD,
    apiTokens: ['token-1', 'token-2'],
    metricsToken: 'metrics-token',
    log,
    maxWrongPasswords: 3,
    wrongPasswordWindowMs: 5 * MINUTE,
    ...overrides,
  })
  const app = express()
  if (overrides.trustProxy !== undefined) app.set('trust proxy', overrides.trustProxy)
  app.get('/page', auth.requireAdmin, (_req, res) => void res.send('page'))
  app.get('/api', auth.requireAdminOrApiToken, (req, res) => void res.json(auth.cameWithToken(req)))
  app.get('/metrics', auth.requireAdminOrMetricsToken, (_req, res) => void res.send('metrics'))
  app.get('/open', (req, res) => void res.json(auth.isAdmin(req)))
  app.use(createErrorHandler({ log }))
  const url = await serve(app)
  return {
    ask: (path: string, headers: HttpRequest['headers'] = {}) => send(`${url}${path}`, { headers }),
    lines,
  }
}

describe('access', () => {
  test.each([
    ['/page', 'nobody', {}, 401],
    ['/page', 'the admin', right, 200],
    ['/page', 'a wrong password', wrong, 401],
    ['/page', 'a wrong user', basicAuth('root', PASSWORD), 401],
    ['/page', 'an empty password', basicAuth(USER, ''), 401],
    ['/page', 'an API token', bearerAuth('token-1'), 401],
    ['/page', 'half a header', { authorization: 'Basic' }, 401],
    ['/page', 'another scheme', { authorization: `Digest ${right.authorization}` }, 401],
    ['/page', 'a scheme in capitals', { authorization: right.authorization!.replace('Basic', 'BASIC') }, 200],
    ['/api', 'nobody', {}, 401],
    ['/api', 'the admin', right, 200],
    ['/api', 'the first API token', bearerAuth('token-1'), 200],
    ['/api', 'the second API token', bearerAuth('token-2'), 200],
    ['/api', 'a part of a token', bearerAuth('token'), 401],
    ['/api', 'the metrics token', bearerAuth('metrics-token'), 401],
    ['/metrics', 'the metrics token', bearerAuth('metrics-token'), 200],
    ['/metrics', 'the admin', right, 200],
    ['/metrics', 'an API token', bearerAuth('token-1'), 401],
  ])('%s for %s', async (path, _who, headers, status) => {
    const { ask } = await startApp()

    expect((await ask(path, headers)).status).toBe(status)
  })

  test.each([
    ['/page', `${USER}:${PASSWORD}`, (text: string) => basic(text)],
    ['/api', 'token-1', bearerAuth],
    ['/metrics', 'metrics-token', bearerAuth],
  ])('%s refuses %j with a character changed, added or left out', async (path, secret, authorize) => {
    const { ask } = await startApp({ maxWrongPasswords: 100 })
    const characters = [...secret]
    const changed = characters.map((_, at) => characters.with(at, '~').join(''))

    for (const guess of [...changed, `${secret}~`, secret.slice(0, -1), `~${secret}`, secret.slice(1)])
      expect([guess, (await ask(path, authorize(guess))).status]).toEqual([guess, 401])
    expect((await ask(path, authorize(secret))).status).toBe(200)
  })

  test('/metrics accepts no token when METRICS_TOKEN is not set', async () => {
    const { ask } = await startApp({ metricsToken: undefined })

    expect((await ask('/metrics', bearerAuth('undefined'))).status).toBe(401)
    expect((await ask('/metrics', right)).status).toBe(200)
  })

  test('a guard cannot be created without a password', () => {
    const { log } = captureLog()
    expect(() => createAdminAuth({ user: 'admin', password: '', apiTokens: [], log })).toThrow(
      'ADMIN_PASSWORD',
    )
  })

  test('tells a request with a token from one with the password', async () => {
    const { ask } = await startApp()

    expect((await ask('/api', bearerAuth('token-1'))).json()).toBe(true)
    expect((await ask('/api', right)).json()).toBe(false)
  })

  test('the challenge offers a password in UTF-8, and a token where tokens are accepted', async () => {
    const { ask } = await startApp()

    const page = await ask('/page')
    const api = await ask('/api')

    expect(page.headers['www-authenticate']).toBe('Basic realm="wa-ingest", charset="UTF-8"')
    expect(api.headers['www-authenticate']).toContain('Bearer realm="wa-ingest"')
  })

  test('answers for the admin are not cached', async () => {
    const { ask } = await startApp()

    for (const headers of [{}, right])
      expect((await ask('/page', headers)).headers['cache-control']).toBe('no-store')
  })
})

describe('wrong passwords', () => {
  test('block their address, even for the right password, until the window ends', async () => {
    let time = 0
    const { ask } = await startApp({ now: () => time })

    for (let guess = 0; guess < 3; guess++) expect((await ask('/page', wrong)).status).toBe(401)
    const blocked = await ask('/page', right)
    time += 5 * MINUTE
    const later = await ask('/page', right)

    expect(blocked.status).toBe(429)
    expect(blocked.headers['retry-after']).toBe('300')
    expect(later.status).toBe(200)
  })

  test('do not block another address', async () => {
    const { ask } = await startApp({ trustProxy: 1 })

    for (let guess = 0; guess < 4; guess++) await ask('/page', { ...wrong, 'x-forwarded-for': '203.0.113.7' })
    const attacker = await ask('/page', { ...right, 'x-forwarded-for': '203.0.113.7' })
    const admin = await ask('/page', { ...right, 'x-forwarded-for': '198.51.100.9' })

    expect(attacker.status).toBe(429)
    expect(admin.status).toBe(200)
  })

  test('count for the whole network of an IPv6 client, and separately for IPv4 clients of a dual-stack socket', async () => {
    const { ask } = await startApp({ trustProxy: 1 })
    const guessFrom = (address: string) => ask('/page', { ...wrong, 'x-forwarded-for': address })

    for (const host of ['1', '2', '3']) await guessFrom(`2001:db8:0:1::${host}`)
    for (const host of ['1', '2', '3']) await guessFrom(`::ffff:203.0.113.${host}`)

    expect((await guessFrom('2001:db8:0:1::4')).status).toBe(429)
    expect((await guessFrom('::ffff:203.0.113.4')).status).toBe(401)
  })

  test('alone are counted: right passwords, missing credentials and tokens never block', async () => {
    const { ask } = await startApp()

    for (const headers of [right, {}, bearerAuth('old'), bearerAuth('token-1')])
      for (let request = 0; request < 5; request++) await ask('/api', headers)

    expect((await ask('/api', right)).status).toBe(200)
  })

  test('sent at once have no advantage over passwords sent one after the other', async () => {
    const { ask } = await startApp()

    const answers = await Promise.all(Array.from({ length: 20 }, () => ask('/page', wrong)))

    expect(answers.filter((answer) => answer.status === 401)).toHaveLength(3)
    expect(answers.filter((answer) => answer.status === 429)).toHaveLength(17)
  })

  test('count at public routes too, so that nobody can guess there', async () => {
    const { ask } = await startApp()

    for (let guess = 0; guess < 3; guess++) expect((await ask('/open', wrong)).json()).toBe(false)

    expect((await ask('/open', right)).json()).toBe(false)
    expect((await ask('/page', right)).status).toBe(429)
  })

  test('are logged once when they block an address, with the next step for an unknown proxy', async () => {
    const { ask, lines } = await startApp()

    for (let guess = 0; guess < 6; guess++) await ask('/page', { ...wrong, 'x-forwarded-for': '203.0.113.7' })

    expect(lines()).toMatchObject([
      { level: 'warn', msg: 'admin login blocked', next_step: expect.stringContaining('TRUST_PROXY') },
    ])
  })
})

function basic(userAndPassword: string) {
  return { authorization: `Basic ${Buffer.from(userAndPassword).toString('base64')}` }
}
