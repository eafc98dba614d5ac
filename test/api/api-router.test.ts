import { beforeEach, expect, test } from 'vitest'
import { send } from '../support/http.ts'
import { asAdmin, withApiToken } from './admin-app.ts'
import { type ApiApp, startApi } from './api-app.ts'

let api: ApiApp

beforeEach(async () => {
  api = await startApi()
})

const TEXT = { to: '+15551230001', type: 'text', text: 'hello' }
const ROUTES = ['/conversations', '/messages/1', '/changes', '/stream', '/stats', '/openapi.json', '/nothing']

test('every route needs credentials', async () => {
  for (const path of ROUTES) {
    const response = await send(`${api.url}/api${path}`)
    expect(response.status, path).toBe(401)
    expect(response.headers['content-type'], path).toMatch('application/problem+json')
  }
})

test('wrong passwords at any route block the passwords of their address, and no tokens', async () => {
  const wrong = { authorization: `Basic ${Buffer.from('admin:guess').toString('base64')}` }

  const guesses = []
  for (let index = 0; index < 11; index++)
    guesses.push(await send(`${api.url}/api${ROUTES[index % ROUTES.length]}`, { headers: wrong }))

  expect(guesses.map((response) => response.status)).toEqual([...Array(10).fill(401), 429])
  expect(Number(guesses[10]?.headers['retry-after'])).toBeGreaterThan(0)
  expect((await send(`${api.url}/api/conversations`, { headers: asAdmin })).status).toBe(429)
  expect((await send(`${api.url}/api/conversations`, { headers: withApiToken })).status).toBe(200)
})

test('a change that another site requests is refused with the admin’s password, and accepted with a token', async () => {
  const { conversation_id } = await api.receive()
  const foreign = { origin: 'https://evil.example' }

  for (const [path, body] of [
    ['/messages', TEXT],
    [`/conversations/${conversation_id}/read`, {}],
  ] as const) {
    const url = `${api.url}/api${path}`
    const asForeignAdmin = { headers: { ...asAdmin, ...foreign }, method: 'POST', body }
    expect((await send(url, asForeignAdmin)).status, path).toBe(403)
    expect((await api.post(path, body, foreign)).status, path).toBeLessThan(300)
  }
})

test('no answer is cached', async () => {
  for (const path of ['/conversations', '/changes', '/stats'])
    expect((await api.get(path)).headers['cache-control'], path).toBe('no-store')
})
