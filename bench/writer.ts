/**
 * What the batch writer costs by itself: CPU of this process and of PostgreSQL for each message, without queue and HTTP.
 * For comparing one change of it with another; the figures in docs/benchmarks.md under "What was tried".
 *
 *   node bench/writer.ts [--messages 12000] [--people 2000] [--at-once 512] [--sql "DROP INDEX …"]
 *
 * It brings its own PostgreSQL, for the length of the run. --at-once: messages that wait to be written at the same time,
 * and with it the size of the batches. --sql: run before the first message.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { cpuMsOfServer, parentOf } from '../rig/process-times.ts'
import { createTraffic } from '../src/cli/simulate/traffic.ts'
import { createDatabase, createPool } from '../src/db/connect.ts'
import { createEventStore, type EventStore } from '../src/db/ingest/event-store.ts'
import type { StoreItem } from '../src/db/ingest/store-item.ts'
import { migrateToLatest } from '../src/db/migrate.ts'
import { normalizeMeta } from '../src/providers/meta/normalize.ts'
import { parseMetaWebhook } from '../src/providers/meta/parse.ts'
import { openPostgres } from './servers/postgres.ts'

const WARM_UP_MESSAGES = 6_000
const MESSAGES_PER_SECOND = 2_000

type Settings = { messages: number; people: number; atOnce: number; sql: string | undefined }

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      messages: { type: 'string', default: '12000' },
      people: { type: 'string', default: '2000' },
      'at-once': { type: 'string', default: '512' },
      sql: { type: 'string' },
    },
  })
  const { messages, people, 'at-once': atOnce, sql } = values
  const dataDir = mkdtempSync(path.resolve('.data', 'writer-'))
  const postgres = await openPostgres({ url: undefined, dataDir, isProfiled: false })
  try {
    await postgres.createDatabase('writer')
    const settings = { messages: Number(messages), people: Number(people), atOnce: Number(atOnce), sql }
    await measure(postgres.urlOf('writer'), settings)
  } finally {
    await postgres.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function measure(url: string, { messages, people, atOnce, sql }: Settings): Promise<void> {
  const pool = createPool({ url, applicationName: 'bench writer', max: 5 })
  const db = createDatabase(pool)
  await migrateToLatest(db)
  if (sql !== undefined) await pool.query(sql)
  const { rows } = await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  const server = parentOf(rows[0]?.pid ?? 0)
  if (server === undefined) throw new Error('CPU times are read from /proc: this needs Linux')
  const store = createEventStore({ db })
  await storeAll(store, itemsOf({ messages: WARM_UP_MESSAGES, people, seed: 1 }), atOnce)
  await pool.query('CHECKPOINT')

  const items = itemsOf({ messages, people, seed: 2 })
  const [ownBefore, serverBefore, startedAt] = [
    process.cpuUsage(),
    cpuMsOfServer(server) ?? 0,
    performance.now(),
  ]
  await storeAll(store, items, atOnce)
  const seconds = (performance.now() - startedAt) / 1000
  const own = process.cpuUsage(ownBefore)
  const ofServer = (cpuMsOfServer(server) ?? 0) - serverBefore
  await db.destroy()
  process.stdout.write(
    `${Math.round(messages / seconds)} messages/s, CPU for each: writer ${Math.round((own.user + own.system) / messages)} µs, ` +
      `PostgreSQL ${Math.round((ofServer * 1000) / messages)} µs\n`,
  )
}

function itemsOf({
  messages,
  people,
  seed,
}: {
  messages: number
  people: number
  seed: number
}): StoreItem[] {
  const startedAt = Date.now()
  const traffic = createTraffic({
    messages,
    statuses: 0,
    batch: 1,
    redeliveries: 0,
    imageShare: 0,
    conversations: people,
    seed,
    run: seed.toString(16).padStart(8, '0'),
    startedAt,
    messagesPerSecond: MESSAGES_PER_SECOND,
  })
  return Array.from({ length: traffic.webhookCount }, (_, webhook) =>
    parseMetaWebhook(traffic.body(webhook), startedAt),
  ).flatMap((jobs) => jobs.map((job) => ({ ...job, fact: normalizeMeta(job.event) })))
}

/** So many at a time, one after the other as they are done. */
async function storeAll(store: EventStore, items: readonly StoreItem[], atOnce: number): Promise<void> {
  const rest = items.values()
  const work = async () => {
    for (const item of rest) {
      const { outcome } = await store.store(item)
      if (outcome !== 'stored') throw new Error(`a message ended as ${outcome}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

await main()
