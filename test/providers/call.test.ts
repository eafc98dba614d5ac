import { describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/local/free-port.ts'
import { callProvider } from '../../src/providers/call.ts'
import { type FakeServer, startFakeServer } from '../support/fake-server.ts'

const SECRET = 'EAAG-test-token'

const start = () =>
  startFakeServer({ isSend: () => true, succeed: () => ({ status: 200, body: { ok: true } }) })
const call = (url: string, { timeoutMs = 5_000 } = {}) =>
  callProvider({ url, body: 'x=1', signal: AbortSignal.timeout(timeoutMs), secrets: [SECRET] })

describe('a call to a provider', () => {
  test('gives status and body', async () => {
    const server = await start()

    expect(await call(server.url)).toMatchObject({ kind: 'answered', status: 200, body: { ok: true } })
  })

  test.each(['127.0.0.1', 'localhost'])('has not left when %s refuses the connection', async (host) => {
    const port = await findFreePort()

    expect(await call(`http://${host}:${port}`)).toMatchObject({
      kind: 'not_connected',
      code: 'ECONNREFUSED',
    })
  })

  test('has not left when the host is not known', async () => {
    expect(await call('http://graph.invalid')).toMatchObject({ kind: 'not_connected' })
  })

  test.each<[string, (server: FakeServer) => void]>([
    ['the connection is cut before anything is read', (server) => server.cutConnections(true)],
    ['the connection is cut after it was read', (server) => server.next((_, it) => it.cut())],
    ['the answer is cut off', (server) => server.next((_, it) => it.cutAnswer())],
  ])('may have arrived when %s, and is not made again', async (_, break_) => {
    const server = await start()
    break_(server)

    expect(await call(server.url)).toMatchObject({ kind: 'lost' })
    expect(server.connections()).toBe(1)
    expect(server.calls.length).toBeLessThanOrEqual(1)
  })

  test('may have arrived when the deadline ends it', async () => {
    const server = await start()
    server.next(() => {})

    expect(await call(server.url, { timeoutMs: 200 })).toMatchObject({ kind: 'lost', code: 'timeout' })
  })

  test('has a connection of its own, so that none is closed under it', async () => {
    const server = await start()

    for (let i = 1; i <= 3; i++) {
      await call(server.url)
      expect(server.connections()).toBe(i)
    }
  })

  test('follows no redirect: the message would be sent to a second place', async () => {
    const server = await start()
    server.next((_, it) => it.answer(307, ''))

    expect(await call(server.url)).toMatchObject({ kind: 'answered', status: 307 })
    expect(server.calls).toHaveLength(1)
  })

  test('never shows a secret that the provider repeats', async () => {
    const server = await start()
    server.next((_, it) => it.answer(400, { error: { message: `Malformed access token ${SECRET}` } }))

    expect(await call(server.url)).toMatchObject({
      body: { error: { message: 'Malformed access token [hidden]' } },
    })
  })
})
