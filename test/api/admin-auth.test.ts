import express from 'express'
import { describe, expect, test } from 'vitest'
import { type AdminAuthDeps, createAdminAuth, createTokenGuard } from '../../src/api/admin-auth.ts'
import { createErrorHandler } from '../../src/api/problem.ts'
import { basicAuth, bearerAuth, type HttpRequest, send, serve } from '../support/http.ts'
import { captureLog } from './captured-log.ts'

const USER = 'admin'
const PASSWORD = 'pässwörd:with:colons'
const right = basicAuth(USER, PASSWORD)
const wrong = basicAuth(USER, 'guess')
const MINUTE = 60_000

type AppOptions = Partial<AdminAuthDeps> & { trustProxy?: number; limits?: Partial<AdminAuthDeps> }

async function startApp({
  limits = { maxWrongPasswords: 3, wrongPasswordWindowMs: 5 * MINUTE },
  ...overrides
}: AppOptions = {}) {
  const { log, lines } = captureLog()
  const auth = createAdminAuth({
    user: USER,
    password: PASSWORD,
    apiTokens: ['token-1', 'token-2'],
    metricsToken: 'metrics-token',
    log,
    ...limits,
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

describe('the guard of a port that strangers reach', () => {
  async function startGuarded(token: string | undefined) {
    const { log, lines } = captureLog()
    const app = express()
    app.get('/metrics', createTokenGuard(token), (_req, res) => void res.send('metrics'))
    app.use(createErrorHandler({ log }))
    const url = await serve(app)
    return { ask: (headers: HttpRequest['headers'] = {}) => send(`${url}/metrics`, { headers }), lines }
  }

  test('lets the token in, and answers everything else alike: also the right password', async () => {
    const { ask } = await startGuarded('metrics-token')

    expect((await ask(bearerAuth('metrics-token'))).status).toBe(200)
    const refused = [{}, right, wrong, bearerAuth('metrics-tokem'), basic('metrics-token')]
    for (const headers of refused) {
      const answer = await ask(headers)
      expect([answer.status, answer.headers['www-authenticate']]).toEqual([401, 'Bearer realm="wa-ingest"'])
      expect(answer.json()).toMatchObject({ detail: expect.stringContaining('METRICS_TOKEN') })
    }
  })

  test('lets nobody in without a token of its own', async () => {
    const { ask } = await startGuarded(undefined)

    for (const headers of [{}, right, bearerAuth('undefined'), { authorization: 'Bearer ' }])
      expect((await ask(headers)).status).toBe(401)
  })

  test('keeps its answers out of caches', async () => {
    const { ask } = await startGuarded('metrics-token')

    for (const headers of [{}, bearerAuth('metrics-token')])
      expect((await ask(headers)).headers['cache-control']).toBe('no-store')
  })
})

describe('what is refused', () => {
  test('says why: nothing was sent, or it was wrong', async () => {
    const { ask } = await startApp()

    expect((await ask('/page')).json()).toMatchObject({ detail: expect.stringContaining('ADMIN_PASSWORD') })
    for (const headers of [wrong, bearerAuth('old')])
      expect((await ask('/page', headers)).json()).toMatchObject({
        detail: 'The user, password or token is wrong.',
      })
  })

  test('when blocked, says for how long', async () => {
    const { ask } = await startApp({ now: () => 0 })
    for (let guess = 0; guess < 3; guess++) await ask('/page', wrong)

    expect((await ask('/page', right)).json()).toMatchObject({
      detail: 'Too many wrong passwords from this address. Try again in 300 seconds.',
    })
  })

  test('only where tokens are accepted offers one', async () => {
    const { ask } = await startApp()

    expect((await ask('/page')).headers['www-authenticate']).not.toContain('Bearer')
    for (const path of ['/api', '/metrics'])
      expect((await ask(path)).headers['www-authenticate']).toBe(
        'Basic realm="wa-ingest", charset="UTF-8", Bearer realm="wa-ingest"',
      )
  })

  test.each([
    ['spaces after the scheme and at the end', 'Bearer   token-1  ', 200],
    ['a scheme in capitals', 'BEARER token-1', 200],
    ['a word before the scheme', 'x Bearer token-1', 401],
    ['a word after the token', 'Bearer token-1 x', 401],
    ['no space after the scheme', 'Bearertoken-1', 401],
    ['another scheme', 'Token token-1', 401],
    ['the token alone', 'token-1', 401],
  ])('%s: %j gets %i', async (_what, authorization, status) => {
    const { ask } = await startApp()

    expect((await ask('/api', { authorization })).status).toBe(status)
  })
})

describe('without settings of its own', () => {
  test('ten wrong passwords in five minutes block an address', async () => {
    let time = 0
    const { ask } = await startApp({ limits: {}, now: () => time })
    const guess = async (count: number) => {
      const answers = []
      for (let asked = 0; asked < count; asked++) answers.push((await ask('/page', wrong)).status)
      return answers
    }

    expect(await guess(11)).toEqual([...Array(10).fill(401), 429])
    time = 5 * MINUTE - 1
    expect(await guess(1)).toEqual([429])
    time = 5 * MINUTE
    expect(await guess(1)).toEqual([401])
  })

  test.each([
    ['user', { user: '' }],
    ['password', { password: '' }],
  ])('a guard without a %s cannot be created', async (_what, overrides) => {
    await expect(startApp(overrides)).rejects.toThrow('Set ADMIN_USER and ADMIN_PASSWORD.')
  })
})

test('an address that a trusted proxy names is logged without the advice to trust one', async () => {
  const { ask, lines } = await startApp({ trustProxy: 1 })

  for (let guess = 0; guess < 3; guess++) await ask('/page', { ...wrong, 'x-forwarded-for': '203.0.113.7' })

  expect(lines()).toMatchObject([{ msg: 'admin login blocked', address: '203.0.113.7' }])
  expect(lines()[0]).not.toHaveProperty('next_step')
})

test('a client without a proxy is logged without the advice to trust one', async () => {
  const { ask, lines } = await startApp()

  for (let guess = 0; guess < 3; guess++) await ask('/page', wrong)

  expect(lines()[0]).not.toHaveProperty('next_step')
})

test('isAdmin is true for the password and for an API token, and not for the metrics token', async () => {
  const { ask } = await startApp()

  const answers = [right, bearerAuth('token-2'), bearerAuth('metrics-token'), {}]
  expect(await Promise.all(answers.map(async (headers) => (await ask('/open', headers)).json()))).toEqual([
    true,
    true,
    false,
    false,
  ])
})

function basic(userAndPassword: string) {
  return { authorization: `Basic ${Buffer.from(userAndPassword).toString('base64')}` }
}
