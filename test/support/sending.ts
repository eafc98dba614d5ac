/** Sending in this process, on a real queue and database, to fake providers over real HTTP. */
import type { Kysely } from 'kysely'
import type { Database } from '../../src/db/schema.ts'
import { runEvery } from '../../src/lifecycle/run-every.ts'
import { createSenders, missingCredentials } from '../../src/providers/index.ts'
import type { QueueBackend } from '../../src/queue/backend.ts'
import { createOutboundProducer, type OutboundProducer } from '../../src/queue/outbound-producer.ts'
import { migrateQueueSchema, openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import type { CopyReport } from '../../src/worker/copy-to-provider.ts'
import type { SendReport } from '../../src/worker/send-message.ts'
import { createSendSweep } from '../../src/worker/send-sweep.ts'
import { createSendWorker } from '../../src/worker/send-worker.ts'
import { cleanUp } from './clean-up.ts'
import { eventually } from './eventually.ts'
import { type FakeMeta, startFakeMeta } from './fake-meta.ts'
import { type FakeTwilio, startFakeTwilio, TWILIO_SENDING_ACCOUNT } from './fake-twilio.ts'
import { createTestDatabase, type TestDatabase } from './postgres.ts'
import { providersWith } from './providers.ts'
import { takeRedisUrl } from './redis.ts'
import { createTempDirectory } from './temp-directory.ts'
import { TWILIO_AUTH_TOKEN } from './twilio-webhooks.ts'

export type MessageRow = Awaited<ReturnType<Sending['message']>>

export type Sending = {
  database: TestDatabase
  db: Kysely<Database>
  backend: QueueBackend
  meta: FakeMeta
  twilio: FakeTwilio
  producer: OutboundProducer
  senders: ReturnType<typeof createSenders>
  reports: SendReport[]
  copies: CopyReport[]
  uploadFolder: string
  errors: unknown[]
  /** Starts a worker with its sweep. Returns the function that stops both. */
  startWorker(options?: WorkerOptions): () => Promise<void>
  message(id: string): Promise<SentRow>
  messages(): Promise<SentRow[]>
  /** Empties database, queue and records; call it before each test. Takes a fraction of the time of a new start. */
  reset(): Promise<void>
  /** Waits until the message has this status. */
  hasStatus(id: string, status: string, options?: { timeoutMs?: number }): Promise<SentRow>
  /** Makes the time since the claim of a message longer. */
  age(id: string, ms: number): Promise<void>
}

export type WorkerOptions = {
  accessToken?: string | undefined
  concurrency?: number
  callTimeoutMs?: number
  copyTimeoutMs?: number
  /** Of the worker alone, for a database that is away. */
  db?: Kysely<Database>
  /** Without it only the test notifies the worker. */
  sweeps?: boolean
}

type SentRow = {
  id: string
  conversation_id: string
  status: string | null
  wa_message_id: string | null
  callback_id: string
  error: { code: number | string; message: string }[] | null
  not_before: Date | null
  send_attempts: number
  content: string | null
}

const SECOND = 1000
const META_TOKEN = 'test-token'
/** How long a worker of `startWorker` has to end. */
const CLOSE_MS = 2_000

/** Ends with the test. Started once for a file it ends with the file: then `reset` it before each test. */
export async function startSending(kind: 'redis' | 'postgres'): Promise<Sending> {
  const database = await createTestDatabase()
  const { db } = database
  const backend = await openBackend(kind, database)
  const [meta, twilio] = await Promise.all([startFakeMeta(), startFakeTwilio()])
  const reports: SendReport[] = []
  const copies: CopyReport[] = []
  const uploadFolder = createTempDirectory()
  const errors: unknown[] = []
  const providersFor = (accessToken?: string) =>
    providersWith({
      META_ACCESS_TOKEN: accessToken,
      META_GRAPH_URL: meta.graphUrl,
      TWILIO_ACCOUNT_SID: TWILIO_SENDING_ACCOUNT,
      TWILIO_AUTH_TOKEN,
      TWILIO_API_URL: twilio.url,
      PUBLIC_URL: 'https://hooks.example.com',
    })
  // Long enough for a busy machine: no test is about a queue that does not confirm in time.
  const producer = createOutboundProducer({
    queue: backend.createProducerQueue('outbound'),
    timeoutMs: 20 * SECOND,
  })
  await backend.ready()

  const messages = async (): Promise<SentRow[]> =>
    (await database.pool.query(`SELECT * FROM chat_messages WHERE source = 'api' ORDER BY id`)).rows
  const message = async (id: string): Promise<SentRow> => {
    const row = (await messages()).find((candidate) => candidate.id === id)
    if (row === undefined) throw new Error(`there is no message ${id}`)
    return row
  }
  return {
    database,
    db,
    backend,
    meta,
    twilio,
    producer,
    senders: createSenders(providersFor(META_TOKEN)),
    reports,
    copies,
    uploadFolder,
    errors,
    messages,
    message,
    reset: async () => {
      meta.reset()
      twilio.reset()
      for (const list of [reports, copies, errors]) list.length = 0
      await backend.createQueue('outbound').obliterate({ force: true })
      await emptyTables(database)
    },
    startWorker: (options = {}) => {
      const { sweeps = true, concurrency = 20, callTimeoutMs, copyTimeoutMs } = options
      const providers = providersFor('accessToken' in options ? options.accessToken : META_TOKEN)
      const senders = createSenders(providers)
      const stop = new AbortController()
      const worker = createSendWorker({
        backend,
        db: options.db ?? db,
        senders,
        findMissingCredential: missingCredentials(providers),
        uploadFolder,
        concurrency,
        stop: stop.signal,
        ...(callTimeoutMs === undefined ? {} : { callTimeoutMs }),
        ...(copyTimeoutMs === undefined ? {} : { copyTimeoutMs }),
        observer: {
          onSend: (report) => reports.push(report),
          onCopy: (report) => copies.push(report),
          onUnsendable: () => {},
          onUnrecorded: (err) => errors.push(err),
          onPause: (err) => errors.push(err),
          onFailed: (err) => errors.push(err),
        },
      })
      const credentialDigests = Object.fromEntries(
        Object.entries(senders).map(([name, it]) => [name, it.credentialDigest]),
      )
      const sweep = createSendSweep({ db, producer, credentialDigests })
      worker.run().catch(() => {})
      const swept = sweeps
        ? runEvery(
            200,
            () => sweep.runOnce(),
            stop.signal,
            (err) => errors.push(err),
          )
        : Promise.resolve()
      const close = async () => {
        stop.abort()
        await Promise.all([worker.close(CLOSE_MS), swept])
        // As if the time were over after which another worker sweeps.
        await database.pool.query(`DELETE FROM leases WHERE name = 'send-sweep'`)
      }
      cleanUp(close)
      return close
    },
    hasStatus: (id, status, options) =>
      eventually(async () => {
        const row = await message(id)
        if (row.status !== status)
          throw new Error(`message ${id} is ${row.status}, not ${status}: ${row.error?.[0]?.message}`)
        return row
      }, options),
    age: async (id, ms) => {
      await database.pool.query(
        `UPDATE chat_messages SET sending_since = sending_since - $2 * interval '1 millisecond' WHERE id = $1`,
        [id, ms],
      )
    },
  }
}

async function emptyTables({ pool }: TestDatabase): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(`
    SELECT quote_ident(tablename) AS name FROM pg_tables
    WHERE schemaname = 'public' AND tablename !~ '^wa_ingest_migrations|^changes_horizon$'`)
  await pool.query(`TRUNCATE ${rows.map(({ name }) => name).join(', ')} RESTART IDENTITY CASCADE`)
}

async function openBackend(kind: 'redis' | 'postgres', database: TestDatabase): Promise<QueueBackend> {
  const onError = () => {}
  if (kind === 'postgres') await migrateQueueSchema(database.url)
  const backend =
    kind === 'postgres'
      ? openPostgresBackend({ databaseUrl: database.url, onError })
      : openRedisBackend({ redis: { url: await takeRedisUrl(), clusterNodes: [], sentinels: [] }, onError })
  cleanUp(() => backend.close())
  return backend
}
