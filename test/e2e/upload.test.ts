/** A large file with real processes: from the client to disk, and from disk to Meta. */
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import { bearerAuth, send } from '../support/http.ts'
import { META_PHONE_NUMBER_ID } from '../support/meta-webhooks.ts'
import { startService } from '../support/service.ts'

const TOKEN = 'token-of-the-tests'
const headers = bearerAuth(TOKEN)
const MB = 1024 * 1024
/** The largest file that WhatsApp accepts. */
const SIZE = 100 * MB
/** Additional memory of a process: bytes on their way, and garbage that is not collected yet. */
const MAX_GROWTH = 90 * MB

// Only Linux reports the peak memory of a process.
test.runIf(process.platform === 'linux')('100 MB pass through without being kept in memory', async () => {
  const meta = await startFakeMeta()
  const service = await startService({
    backend: 'postgres',
    env: {
      API_TOKENS: TOKEN,
      META_ACCESS_TOKEN: 'test-access-token',
      META_PHONE_NUMBER_ID,
      META_GRAPH_URL: meta.graphUrl,
    },
  })
  const [worker] = service.workers
  if (worker === undefined) throw new Error('no worker was started')
  const before = { api: peakMemory(service.api.pid), worker: peakMemory(worker.pid) }

  const upload = await uploadLarge(`${service.url}/api/media?filename=large.pdf`)
  const order = await send(`${service.url}/api/messages`, {
    method: 'POST',
    headers,
    body: { to: '+15551230001', type: 'document', media: { upload_id: upload.id } },
  })
  const { id } = order.json() as { id: string }
  await eventually(
    async () => {
      const { rows } = await service.database.pool.query('SELECT status FROM chat_messages WHERE id = $1', [
        id,
      ])
      expect(rows).toEqual([{ status: 'accepted' }])
    },
    { timeoutMs: 30_000 },
  )

  expect(upload.size_bytes).toBe(SIZE)
  expect(meta.files().map(({ length }) => length > SIZE && length < SIZE + 2_000)).toEqual([true])
  expect(peakMemory(service.api.pid) - before.api).toBeLessThan(MAX_GROWTH)
  expect(peakMemory(worker.pid) - before.worker).toBeLessThan(MAX_GROWTH)
})

/** The peak memory of the process in bytes. */
function peakMemory(pid: number): number {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

/** Sends the body in chunks without a length, as fast as the server reads them. */
function uploadLarge(url: string): Promise<{ id: string; size_bytes: number }> {
  return new Promise((resolve, reject) => {
    const req = request(
      url,
      { method: 'POST', headers: { ...headers, 'content-type': 'application/pdf' }, agent: false },
      (res) => {
        let text = ''
        res.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        res.on('end', () => (res.statusCode === 201 ? resolve(JSON.parse(text)) : reject(new Error(text))))
      },
    )
    req.on('error', reject)
    const piece = Buffer.alloc(MB, '%PDF ')
    let left = SIZE / MB
    const write = () => {
      while (left > 0) {
        left--
        if (!req.write(piece)) return void req.once('drain', write)
      }
      req.end()
    }
    write()
  })
}
