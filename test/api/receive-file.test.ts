import { readdirSync, readFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { ProblemError } from '../../src/api/problem.ts'
import { receiveFile, writeBody } from '../../src/api/receive-file.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

/** A server that receives one file of at most 1000 bytes, and the result. */
async function startReceiver() {
  const folder = path.join(createTempDirectory(), 'not', 'there', 'yet')
  const ends: unknown[] = []
  const server = createServer((req, res) => {
    receiveFile(req, { folder, maxBytes: 1000 }).then(
      (file) => {
        ends.push(file)
        res.end('stored')
      },
      (err) => {
        ends.push(err instanceof ProblemError ? err.problem.status : err)
        res.writeHead(400, { connection: 'close' }).end()
      },
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  const post = () => {
    const req = request({ port, method: 'POST' })
    req.on('error', () => {})
    return req
  }
  const end = () =>
    eventually(() => {
      if (ends.length === 0) throw new Error('the file is still being received')
      return ends[0]
    })
  return { folder, post, end, files: () => readdirSync(folder) }
}

test('a file is complete under its id, and the answer describes it', async () => {
  const { folder, post, end, files } = await startReceiver()

  const req = post()
  req.write('a'.repeat(400))
  req.end('b'.repeat(600))

  const file = (await end()) as { id: string }
  expect(file).toEqual({
    id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    size_bytes: 1000,
    sha256: '029b74a792c2352cc7f2371a9580055ac2e03f8fa13bedcda82fa9d7b5502173',
  })
  expect(files()).toEqual([file.id])
  expect(readFileSync(path.join(folder, file.id), 'utf8')).toBe('a'.repeat(400) + 'b'.repeat(600))
})

test('a file that is too large is refused and removed', async () => {
  const { post, end, files } = await startReceiver()

  const req = post()
  req.write('x'.repeat(600))
  req.end('x'.repeat(401))

  expect(await end()).toBe(413)
  expect(files()).toEqual([])
})

test('a client that disconnects half-way leaves no file', async () => {
  const { post, end, files } = await startReceiver()
  const req = post()
  req.write('half')
  await eventually(() => expect(files()).toHaveLength(1))

  req.destroy()

  expect(await end()).toBe(400)
  expect(files()).toEqual([])
})

test('a full disk is an error, even if only the last byte fails', async () => {
  const body = Readable.from([Buffer.from('some bytes')])

  await expect(writeBody(body as never, '/dev/full', 1000)).rejects.toMatchObject({ code: 'ENOSPC' })
})
