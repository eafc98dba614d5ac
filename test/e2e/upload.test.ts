/** A large file through the real processes: from the client to disk, and from disk to Meta. */
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
/** WhatsApp's largest. */
const SIZE = 100 * MB
/** Of memory beside what the process has: what is on its way, and what is not collected yet. */
const MAX_GROWTH = 90 * MB

// Only Linux tells what the most was that a process has had.
test.runIf(process.platform === 'linux')('100 MB pass through without being held in memory', async () => {
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

/** The most memory that this process has had at a time, in bytes. */
function peakMemory(pid: number): number {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

/** In pieces, as fast as the server takes them, without saying beforehand how many. */
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
