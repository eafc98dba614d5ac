/** The service as real processes, on a database and a Redis database number of its own. */

import { migrateQueueSchema } from '../../src/queue/postgres-backend.ts'
import { type HttpResponse, send } from './http.ts'
import { META_APP_SECRET, metaHeaders } from './meta-webhooks.ts'
import { createTestDatabase, type TestDatabase } from './postgres.ts'
import { type CapturedProcess, findFreePort, type StartOptions, startCli } from './processes.ts'
import { takeRedisUrl } from './redis.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'
import { createTempDirectory } from './temp-directory.ts'

export const ADMIN_PASSWORD = 'a-long-test-password'
export const TWILIO_AUTH_TOKEN = 'test-auth-token-0001'

export type TestService = {
  url: string
  database: TestDatabase
  /** Between the processes and PostgreSQL; the test's own `database` goes past it. */
  databaseProxy: TcpProxy
  /** Between the processes and Redis; undefined on the PostgreSQL backend. */
  redisProxy: TcpProxy | undefined
  api: CapturedProcess
  workers: CapturedProcess[]
  startWorker(options?: Pick<StartOptions, 'livesWith'>): Promise<CapturedProcess>
  /** Starts a receiver on the same port after the first one has ended. */
  startApi(): Promise<CapturedProcess>
  /** Signs as Meta does. */
  deliver(body: string | Buffer): Promise<HttpResponse>
  count(table: string): Promise<number>
}

export type TestServiceOptions = {
  backend: 'redis' | 'postgres'
  /** Use a Redis server of the test's own instead of a number on the shared one. */
  redisUrl?: string
  /** How many worker processes; 0 leaves everything on the queue. */
  workers?: number
  env?: Record<string, string>
}

/** Ended with the test (outside of a test: the file). */
export async function startService({
  backend,
  workers = 1,
  redisUrl,
  env = {},
}: TestServiceOptions): Promise<TestService> {
  const database = await createTestDatabase()
  const databaseProxy = await startTcpProxy(database.url)
  const redisProxy = backend === 'redis' ? await startTcpProxy(redisUrl ?? (await takeRedisUrl())) : undefined
  if (backend === 'postgres') await migrateQueueSchema(database.url)
  const port = await findFreePort()
  const variables = {
    PORT: String(port),
    DATA_DIR: createTempDirectory(),
    DATABASE_URL: databaseProxy.url,
    REDIS_URL: redisProxy?.url,
    META_APP_SECRET,
    META_VERIFY_TOKEN: 'test-verify-token',
    TWILIO_AUTH_TOKEN,
    ADMIN_PASSWORD,
    ...env,
  }
  const api = startCli(['api'], { env: variables })
  const running: CapturedProcess[] = []
  const startWorker: TestService['startWorker'] = async (options = {}) => {
    const worker = startCli(['worker'], { env: variables, ...options })
    running.push(worker)
    await worker.waitForOutput(/"msg":"ready"/)
    return worker
  }
  const startApi = async () => {
    const next = startCli(['api'], { env: variables })
    await next.waitForOutput(/"msg":"ready"/)
    return next
  }
  await Promise.all([
    api.waitForOutput(/"msg":"ready"/),
    ...Array.from({ length: workers }, () => startWorker()),
  ])
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    database,
    databaseProxy,
    redisProxy,
    api,
    workers: running,
    startWorker,
    startApi,
    deliver: (body) =>
      send(`${url}/webhooks/meta`, { method: 'POST', headers: metaHeaders(body), body: body.toString() }),
    count: async (table) =>
      Number((await database.pool.query(`SELECT count(*) FROM ${table}`)).rows[0].count),
  }
}
