/** The load generator against a real receiver: what it sends, what it counts, and when it counts from. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { Requests } from '../../bench/load/request-files.ts'
import { type LoadOptions, sendLoad } from '../../bench/load/send-load.ts'
import { cleanUp } from '../support/clean-up.ts'

const COUNT = 200

async function startReceiver(listener: RequestListener): Promise<number> {
  const server = createServer(listener)
  cleanUp(() => server.closeAllConnections())
  cleanUp(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

const requests: Requests = {
  count: COUNT,
  at: (position) => Buffer.from(`POST /${position} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi`),
}

function send(port: number, options: Partial<LoadOptions> = {}) {
  return sendLoad({ port, from: 0, to: COUNT, connections: 8, ...options }, requests)
}

describe('sendLoad', () => {
  test('sends every request once', async () => {
    const seen: string[] = []
    const port = await startReceiver((req, res) => {
      seen.push(req.url ?? '')
      res.end()
    })

    const result = await send(port)

    expect(result).toMatchObject({ sent: COUNT, refused: [] })
    expect(seen.sort()).toEqual(Array.from({ length: COUNT }, (_, position) => `/${position}`).sort())
  })

  test('sends nothing before and nothing behind its positions', async () => {
    const seen = new Set<string>()
    const port = await startReceiver((req, res) => {
      seen.add(req.url ?? '')
      res.end()
    })

    await send(port, { from: 10, to: 12 })

    expect([...seen].sort()).toEqual(['/10', '/11'])
  })

  test('reads answers with a body, and those in chunks', async () => {
    const port = await startReceiver((req, res) => {
      if (req.url === '/7') res.write('in ')
      res.end('pieces')
    })

    expect(await send(port)).toMatchObject({ sent: COUNT, refused: [] })
  })

  test('counts each request that is not answered with 200, and says how the first one was', async () => {
    const port = await startReceiver((req, res) => {
      res.statusCode = req.url === '/3' || req.url === '/5' ? 503 : 200
      res.end()
    })

    expect(await send(port)).toMatchObject({ sent: COUNT, refused: [3, 5], firstRefusal: 'status 503' })
  })

  test('goes on with another connection when one breaks, and counts what was lost with it', async () => {
    const port = await startReceiver((req, res) => {
      if (req.url === '/20') req.socket.destroy()
      else res.end()
    })

    expect(await send(port)).toMatchObject({ sent: COUNT, refused: [20] })
  })

  test('goes on when the receiver closes connections in order', async () => {
    const port = await startReceiver((req, res) => {
      if (req.url?.endsWith('5')) res.setHeader('Connection', 'close')
      res.end()
    })

    expect(await send(port)).toMatchObject({ sent: COUNT, refused: [] })
  })

  test('takes no new request when the time is over', async () => {
    const port = await startReceiver((_req, res) => void setTimeout(() => res.end(), 50))

    const { sent, refused } = await send(port, { connections: 1, seconds: 0.3 })

    expect(sent).toBeLessThan(10)
    expect(refused).toEqual([])
  })

  test('fails when no receiver listens', async () => {
    await expect(send(1)).rejects.toThrow('ECONNREFUSED')
  })

  test('keeps to the rate that it was given', async () => {
    const port = await startReceiver((_req, res) => void res.end())

    const { durationMs } = await send(port, { perSecond: 400 })

    expect(durationMs).toBeGreaterThan(((COUNT - 1) / 400) * 1_000 - 10)
  })

  test('paced, a stall counts for all whose moment falls into it, not only for those under way', async () => {
    let isFirst = true
    const port = await startReceiver((_req, res) => {
      if (!isFirst) return void res.end()
      isFirst = false
      // Nothing is answered meanwhile, as if the process stood still.
      const until = performance.now() + 400
      while (performance.now() < until);
      res.end()
    })

    const { ackP50Ms } = await send(port, { connections: 1, perSecond: 400 })

    // 160 of the 200 are due while it stands still; a generator that waited for the answer would have seen one of them.
    expect(ackP50Ms).toBeGreaterThan(50)
  })
})
