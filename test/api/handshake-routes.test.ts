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
  return (query: string) => send(`${url}/webhooks/meta?${query}`)
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
  ['no challenge', `hub.mode=subscribe&hub.verify_token=${TOKEN}`],
  ['nothing', ''],
])('%s is refused', async (_what, query) => {
  const ask = await startApp(TOKEN)

  const response = await ask(query)

  expect(response.status).toBe(403)
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
