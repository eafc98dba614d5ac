/** A running service under fire: sends signed bytes, waits until everything is done, and takes stock. */
import { expect } from 'vitest'
import type { QueueBackend } from '../../../src/queue/backend.ts'
import { openPostgresBackend } from '../../../src/queue/postgres-backend.ts'
import { openRedisBackend } from '../../../src/queue/redis-backend.ts'
import { cleanUp } from '../clean-up.ts'
import { eventually } from '../eventually.ts'
import { metaHeaders } from '../meta-webhooks.ts'
import { takeRedisUrl } from '../redis.ts'
import { startService, type TestService, TWILIO_AUTH_TOKEN } from '../service.ts'
import { twilioJsonWebhook, twilioWebhook } from '../twilio-webhooks.ts'
import { marksIn } from './marks.ts'
import type { Format } from './mutations.ts'

export type SignedBody = { format: Format; bytes: Buffer }

/** Rows that a webhook can leave behind; `counters` and `leases` are about the process, not about webhooks. */
const TABLES = [
  'contacts',
  'contact_identifiers',
  'conversations',
  'chat_messages',
  'message_statuses',
  'webhook_events',
  'changes',
  'chat_messages_duplicates',
] as const

export type Stock = Record<(typeof TABLES)[number], number> & { content: string }

/** In how many rows of its own each mark is, and in how many whole bodies that were kept as bytes. */
export type Findings = Map<string, { rows: number; bodies: number }>

export type HostileService = TestService & {
  /** The statuses of the answers, in order. */
  sendAll(bodies: readonly SignedBody[]): Promise<number[]>
  /** Resolves when no job waits, runs, or has failed. */
  settle(): Promise<void>
  /** Makes the queue forget what it has done, so that only the database can know a redelivery. */
  forgetCompletedJobs(): Promise<void>
  /** What there is, and what the rows hold that the last `findMarks` looked into. */
  takeStock(): Promise<Stock>
  /** What was stored since the last call. */
  findMarks(): Promise<Findings>
  /** Throws with the line where a process ended, or logged an error. */
  expectUnharmed(): Promise<void>
}

export async function startHostileService(kind: 'redis' | 'postgres'): Promise<HostileService> {
  const redisUrl = kind === 'redis' ? await takeRedisUrl() : undefined
  const service = await startService({ backend: kind, workers: 1, ...(redisUrl ? { redisUrl } : {}) })
  const backend = openBackend(redisUrl, service.database.url)
  cleanUp(() => backend.close())
  const queue = backend.createQueue('inbound')
  let seen = { chat_messages: 0, message_statuses: 0, webhook_events: 0 }
  let seenBefore = seen

  return {
    ...service,
    sendAll: (bodies) => Promise.all(bodies.map((body) => send(service.url, body))),
    settle: () =>
      eventually(
        async () => {
          const { completed: _, ...unfinished } = await queue.getJobCounts()
          expect(Object.entries(unfinished).filter(([, count]) => count > 0)).toEqual([])
        },
        { timeoutMs: 40_000 },
      ),
    forgetCompletedJobs: async () => {
      await queue.clean(0, 0, 'completed')
    },
    takeStock: () => takeStock(service, seenBefore),
    findMarks: async () => {
      const found = await findMarks(service, seen)
      seenBefore = seen
      seen = found.seen
      return found.findings
    },
    expectUnharmed: () => expectUnharmed(service),
  }
}

function openBackend(redisUrl: string | undefined, databaseUrl: string): QueueBackend {
  const onError = () => {}
  return redisUrl === undefined
    ? openPostgresBackend({ databaseUrl, onError })
    : openRedisBackend({ redis: { url: redisUrl, clusterNodes: [], sentinels: [] }, onError })
}

async function send(origin: string, { format, bytes }: SignedBody): Promise<number> {
  const { path, headers } = signed(origin, { format, bytes })
  const response = await fetch(origin + path, { method: 'POST', headers, body: new Uint8Array(bytes) })
  await response.arrayBuffer()
  return response.status
}

function signed(
  origin: string,
  { format, bytes }: SignedBody,
): { path: string; headers: Record<string, string> } {
  if (format === 'meta') return { path: '/webhooks/meta', headers: metaHeaders(bytes) }
  const sign = format === 'twilio-form' ? twilioWebhook : twilioJsonWebhook
  const { url, headers } = sign(bytes, { authToken: TWILIO_AUTH_TOKEN, publicUrl: origin })
  return {
    path: url,
    headers: {
      'content-type': String(headers['content-type']),
      'x-twilio-signature': String(headers['x-twilio-signature']),
    },
  }
}

/** Row counts, and a digest of the messages, statuses and events since then, so that a row that changed is seen too. */
async function takeStock({ database, count }: TestService, since: Seen): Promise<Stock> {
  const counts = await Promise.all(TABLES.map(async (table) => [table, await count(table)]))
  const { rows } = await database.pool.query(
    `SELECT md5(concat(
      (SELECT string_agg(md5(m::text), '' ORDER BY id) FROM chat_messages m WHERE id > $1),
      (SELECT string_agg(md5(s::text), '' ORDER BY id) FROM message_statuses s WHERE id > $2),
      (SELECT string_agg(md5(e::text), '' ORDER BY id) FROM webhook_events e WHERE id > $3)
    )) AS content`,
    [since.chat_messages, since.message_statuses, since.webhook_events],
  )
  return { ...Object.fromEntries(counts), content: rows[0].content }
}

type Seen = { chat_messages: number; message_statuses: number; webhook_events: number }

async function findMarks(service: TestService, since: Seen): Promise<{ findings: Findings; seen: Seen }> {
  const findings: Findings = new Map()
  const seen = { ...since }
  for (const table of Object.keys(since) as (keyof Seen)[]) {
    for (const { id, text, is_body } of await rowsSince(service, table, since[table])) {
      seen[table] = Number(id)
      for (const mark of marksIn(text).keys()) {
        const { rows, bodies } = findings.get(mark) ?? { rows: 0, bodies: 0 }
        findings.set(mark, is_body ? { rows, bodies: bodies + 1 } : { rows: rows + 1, bodies })
      }
    }
  }
  return { findings, seen }
}

type ScannedRow = { id: string; text: string; is_body: boolean }

async function rowsSince({ database }: TestService, table: keyof Seen, id: number): Promise<ScannedRow[]> {
  const isBody = table === 'webhook_events' ? `kind = 'unreadable' AND context IS NULL` : 'false'
  const { rows } = await database.pool.query(
    `SELECT id, concat(payload::text, ' ', encode(raw, 'escape')) AS text, ${isBody} AS is_body
     FROM ${table} WHERE id > $1 ORDER BY id`,
    [id],
  )
  return rows
}

async function expectUnharmed({ api, workers, url }: TestService): Promise<void> {
  const logged = [api, ...workers].flatMap(({ output }) => output.split('\n'))
  expect(logged.filter((line) => /"level":(?:"error"|"fatal"|50|60)/.test(line))).toEqual([])
  for (const { pid } of [api, ...workers]) expect(() => process.kill(pid, 0)).not.toThrow()
  expect((await fetch(`${url}/health/live`)).status).toBe(200)
}
