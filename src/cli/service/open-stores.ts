/** Opens the two stores of a service process: the database and the queue. */
import type { Kysely } from 'kysely'
import type { Pool } from 'pg'
import type { Config } from '../../config/config-groups.ts'
import { verifyDatabase } from '../../db/any-table/message-index.ts'
import { createDatabase, createPool } from '../../db/connect.ts'
import { isUnavailable, sqlStateOf } from '../../db/errors.ts'
import { assertSchemaIsCurrent, migrateToLatest } from '../../db/migrate.ts'
import type { Database } from '../../db/schema.ts'
import { closeIdleConnections } from '../../db/silent-server.ts'
import type { RunContext } from '../../lifecycle/run-until-signal.ts'
import type { Logger } from '../../logger/logger.ts'
import type { QueueBackend } from '../../queue/backend.ts'
import { migrateQueueSchema, openPostgresBackend } from '../../queue/postgres-backend.ts'
import { openRedisBackend } from '../../queue/redis-backend.ts'
import { logConnectionErrors } from './observers.ts'
import { openServiceDatabase } from './open-database.ts'

export type Stores = {
  databaseUrl: string
  /** Whether `databaseUrl` leads through a pooler. */
  isPooled: boolean
  pool: Pool
  db: Kysely<Database>
  backend: QueueBackend
}

export type OpenStoresOptions = {
  config: Config
  log: Logger
  context: RunContext
  /**
   * - `migrate`: migrates the database, which must answer
   * - `check`: stops the start when the database has another schema; waits for one that is away
   */
  database: 'migrate' | 'check'
}

const POOL_CONNECTIONS = 10
/**
 * A write that takes longer is cancelled, and its batch is retried. With the pause before the retry, a worker stores again
 * within 10 s after a connection has died silently.
 */
const STATEMENT_TIMEOUT_MS = 4_500
/** Longer than the server's time-out, so that the server never goes on with a query that this process has given up. */
const QUERY_TIMEOUT_MS = 5_000
/** How long the locks of a transaction last whose process stands still or was cut off. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
const SERVER_TIMEOUTS = {
  statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  idleInTransactionTimeoutMs: IDLE_IN_TRANSACTION_TIMEOUT_MS,
}
const QUEUE_CLOSE_TIMEOUT_MS = 1_000

export async function openStores({ config, log, context, database }: OpenStoresOptions): Promise<Stores> {
  const server = await openServiceDatabase(config, log)
  context.releases.add('embedded postgresql', () => server.stop())

  const pool = createPool({
    url: server.url,
    applicationName: 'wa-ingest',
    max: POOL_CONNECTIONS,
    queryTimeoutMs: QUERY_TIMEOUT_MS,
    ...(server.isPooled ? {} : SERVER_TIMEOUTS),
    onError: logConnectionErrors(log, 'database'),
  })
  const db = createDatabase(pool)
  context.releases.add('database connections', () => db.destroy())
  if (database === 'migrate') await migrate(server.directUrl, context.signal)
  else await checkSchema(db, config, log)

  const onError = logConnectionErrors(log, 'queue')
  if (config.redis === undefined) await migrateQueueSchema(server.directUrl)
  const backend =
    config.redis === undefined
      ? openPostgresBackend({
          databaseUrl: server.directUrl,
          onError,
          onSilence: () => void closeIdleConnections(pool).catch(() => {}),
        })
      : openRedisBackend({ redis: config.redis, onError })
  context.releases.add('queue', () => backend.close(), { timeoutMs: QUEUE_CLOSE_TIMEOUT_MS })
  return { databaseUrl: server.url, isPooled: server.isPooled, pool, db, backend }
}

async function migrate(url: string, signal: AbortSignal): Promise<void> {
  const db = createDatabase(createPool({ url, applicationName: 'wa-ingest migrate', max: 1 }))
  try {
    await migrateToLatest(db, { signal })
    await assertIndexIsRight(db)
  } catch (err) {
    throw describeConnectionError(err)
  } finally {
    await db.destroy()
  }
}

async function checkSchema(db: Kysely<Database>, config: Config, log: Logger): Promise<void> {
  try {
    await assertSchemaIsCurrent(db)
    await assertIndexIsRight(db)
  } catch (err) {
    // With the queue on PostgreSQL nothing works without the database; a queue on Redis keeps the webhooks meanwhile.
    if (config.redis === undefined || !mayComeBack(err)) throw describeConnectionError(err)
    log.warn({ err }, 'database is away, waiting for it')
  }
}

/** Every write names the unique index in its ON CONFLICT, and fails without it. */
async function assertIndexIsRight(db: Kysely<Database>): Promise<void> {
  const { problems } = await verifyDatabase(db)
  if (problems.length > 0) throw new Error(problems.join('\n'))
}

/** A host that no name server knows and a pooler that refuses us: the start ends, because DATABASE_URL is wrong. */
const CODES_OF_A_WRONG_URL = new Set(['ENOTFOUND', 'EAI_AGAIN', '08P01'])

function mayComeBack(err: unknown): boolean {
  const code = err instanceof Error && 'code' in err ? String(err.code) : ''
  return isUnavailable(err) && !CODES_OF_A_WRONG_URL.has(code)
}

/** The driver's messages for a wrong DATABASE_URL name neither the variable nor the next step. */
function describeConnectionError(err: unknown): unknown {
  if (!(err instanceof Error)) return err
  const code = sqlStateOf(err) ?? ('code' in err ? String(err.code) : undefined)
  const hint = code === undefined ? undefined : CONNECTION_HINTS[code]
  return hint === undefined
    ? err
    : new Error(`the database of DATABASE_URL cannot be used: ${hint}`, { cause: err })
}

const CONNECTION_HINTS: Record<string, string> = {
  ECONNREFUSED: 'nothing listens at its host and port; is PostgreSQL running there?',
  ENOTFOUND: 'its host name is not known',
  EAI_AGAIN: 'its host name cannot be looked up at the moment',
  ETIMEDOUT: 'its host does not answer',
  '28P01': 'the password is wrong',
  '08P01':
    'it leads through a pooler (PgBouncer), which takes no time-outs from us; set DATABASE_DIRECT_URL to PostgreSQL itself (docs/startup-checks.md)',
  '28000': 'the user may not connect (see pg_hba.conf)',
  '3D000': 'there is no database of this name; create it first',
  '42501': 'the user may not create tables in it',
}
