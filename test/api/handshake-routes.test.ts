import { expect, test } from 'vitest'
import { createApp } from '../../src/api/app.ts'
import { createHandshakeRoutes } from '../../src/api/handshake-routes.ts'
import { send, serve } from '../support/http.ts'
import { providersWith } from '../support/providers.ts'
import { captureLog } from './captured-log.ts'

const TOKEN = 'verify-token'

async function startApp(verifyToken: string) {
  const routers = [createHandshakeRoutes(providersWith({ META_VERIFY_TOKEN: verifyToken }))]
  const url = await serve(createApp({ routers, log: captureLog().log }))
  return (query: string, provider = 'meta') => send(`${url}/webhooks/${provider}?${query}`)
}

test('the right token gets its challenge back, byte for byte', async () => {
  const ask = await startApp(TOKEN)

  const response = await ask(`hub.mode=subscribe&hub.verify_token=${TOKEN}&hub.challenge=%3Cb%3E%20115820`)

  expect(response).toMatchObject({ status: 200, text: '<b> 115820' })
  expect(response.headers['content-type']).toBe('text/plain; charset=utf-8')
})

test.each([
  ['another token', 'hub.mode=subscribe&hub.verify_token=guess&hub.challenge=115820'],
  ['an empty token', 'hub.mode=subscribe&hub.verify_token=&hub.challenge=115820'],
  ['no token', 'hub.mode=subscribe&hub.challenge=115820'],
  ['the token twice', `hub.mode=subscribe&hub.verify_token=${TOKEN}&hub.verify_token=x&hub.challenge=1`],
  ['another mode', `hub.mode=unsubscribe&hub.verify_token=${TOKEN}&hub.challenge=115820`],
  ['no mode', `hub.verify_token=${TOKEN}&hub.challenge=115820`],
  ['two challenges', `hub.mode=subscribe&hub.verify_token=${TOKEN}&hub.challenge=115820&hub.challenge=1`],
  ['no challenge', `hub.mode=subscribe&hub.verify_token=${TOKEN}`],
  ['nothing', ''],
])('%s is refused', async (_what, query) => {
  const ask = await startApp(TOKEN)

  const response = await ask(query)

  expect(response.json()).toMatchObject({
    status: 403,
    detail: 'The verify token is not the one configured as META_VERIFY_TOKEN.',
  })
  expect(response.text).not.toContain('115820')
})

test('where no token is set, as with Twilio alone, no token is the right one', async () => {
  const ask = await startApp('')

  for (const token of ['', 'undefined', 'guess'])
    expect(
      (await ask(`hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=115820`)).status,
      `"${token}"`,
    ).toBe(403)
})

test('a token with a character changed, added or left out is refused', async () => {
  const ask = await startApp(TOKEN)
  const characters = [...TOKEN]
  const changed = characters.map((_, at) => characters.with(at, '~').join(''))

  for (const guess of [
    ...changed,
    `${TOKEN}~`,
    TOKEN.slice(0, -1),
    `~${TOKEN}`,
    TOKEN.slice(1),
    TOKEN.toUpperCase(),
  ])
    expect([
      guess,
      (await ask(`hub.mode=subscribe&hub.verify_token=${guess}&hub.challenge=115820`)).status,
    ]).toEqual([guess, 403])
})

test('a provider without a handshake has no such address', async () => {
  const ask = await startApp(TOKEN)

  expect((await ask(`hub.mode=subscribe&hub.verify_token=${TOKEN}&hub.challenge=1`, 'twilio')).status).toBe(
    404,
  )
})
