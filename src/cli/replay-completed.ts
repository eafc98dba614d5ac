/** `wa-ingest replay-completed`: what the database has lost, and the queue still has. */
import type { Config } from '../config/config-groups.ts'
import { loadConfig } from '../config/load-config.ts'
import { withDeadline } from '../core/deadline.ts'
import { createDatabase } from '../db/connect.ts'
import { createEventStore } from '../db/ingest/event-store.ts'
import { assertSchemaIsCurrent } from '../db/migrate.ts'
import { createNormalize, numberRule } from '../providers/index.ts'
import type { QueueBackend } from '../queue/backend.ts'
import { openPostgresBackend } from '../queue/postgres-backend.ts'
import { openRedisBackend } from '../queue/redis-backend.ts'
import { type ReplayOptions, type ReplayReport, replayCompletedJobs } from '../worker/replay-completed.ts'
import { type Command, type CommandContext, dateOption, UsageError, writeJson, writeLine } from './command.ts'
import { openCommandDatabase } from './command-database.ts'
import { commandProgress, formatCount, type Progress } from './progress.ts'
import { formatTable } from './table.ts'

const EXIT_FAILURE = 1
const EXIT_STOPPED = 130
const QUEUE_TIMEOUT_MS = 5_000

export const command: Command = {
  name: 'replay-completed',
  summary: 'store the events of completed jobs again, after the database has lost commits',
  usage: `
wa-ingest replay-completed is for a database that has lost what it had confirmed: after a failover to a
replica that lagged, or a restore to an earlier moment. The queue keeps completed jobs for a while. Their
events are stored once more: what is missing is stored, what is there stays as it is.

How far back that reaches, and what it cannot bring back: docs/guarantees.md. While workers complete new
jobs, the oldest leave the queue: run it at once, or stop the workers before.

It can run beside the service, be stopped with Ctrl-C and be started again. A second run changes nothing.
A message that was deleted on purpose within that time comes back; --since leaves older jobs alone.

Usage: npx wa-ingest replay-completed [options]

  --since DATE        only jobs that were completed since then: 2026-06-01T12:00:00Z. Take a time before the
                      first lost commit, with some minutes to spare
  --database-url URL  database (DATABASE_DIRECT_URL, DATABASE_URL, or the embedded one in DATA_DIR)
  --json              the result as one JSON document
  --quiet             no progress
  -h, --help          this text

The queue is that of the service: REDIS_URL and the like, or else the database. A queue in the database has
lost its jobs with the same commits, and has nothing to replay from that time.

Ends with 1 when this version could not read some of the jobs, with 130 when it was stopped.

Examples:
  npx wa-ingest replay-completed
  npx wa-ingest replay-completed --since 2026-06-01T11:50:00Z`,
  options: {
    since: { type: 'string' },
    'database-url': { type: 'string' },
    json: { type: 'boolean' },
    quiet: { type: 'boolean' },
  },
  run: replayCompleted,
}

type Result = Omit<ReplayReport, 'read_until'> & { queue: 'redis' | 'postgres'; stopped: boolean } & {
  read_until: Date | null
}

async function replayCompleted(ctx: CommandContext): Promise<number> {
  const { values, env, signal } = ctx
  const since = dateOption(values, 'since')
  if (since !== undefined && since.getTime() > Date.now())
    throw new UsageError('--since is in the future: there is nothing to replay')
  const config = loadConfig(env, { needsSecrets: false })
  const database = await openCommandDatabase(ctx, { applicationName: 'wa-ingest replay-completed', max: 4 })
  const db = createDatabase(database.pool)
  let backend: QueueBackend | undefined
  try {
    await assertSchemaIsCurrent(db)
    backend = await openQueue(config, database.url)
    const store = createEventStore({
      ...{ db, countsDuplicates: false },
      choosesNumber: numberRule(config.providers),
    })
    const queue = backend.createProducerQueue('inbound')
    await backend.ready()
    const deps = { queue, store, normalize: createNormalize(config.providers) }
    const { report, cause } = await watch(ctx, (onProgress) =>
      replayCompletedJobs(deps, { since, signal, onProgress }),
    )
    const { read_until = null, ...counts } = report
    const result: Result = { queue: backend.kind, ...counts, read_until, stopped: signal.aborted }
    if (values.json === true) writeJson(ctx.stdout, result)
    else writeLine(ctx.stdout, formatResult(result))
    if (cause !== undefined) writeLine(ctx.stderr, `The first job that could not be read: ${reasonOf(cause)}`)
    if (result.stopped) return EXIT_STOPPED
    return result.failed > 0 ? EXIT_FAILURE : 0
  } finally {
    await backend?.close()
    await database.close()
  }
}

/** @throws Error with one line when the queue does not answer. */
async function openQueue({ redis }: Config, databaseUrl: string): Promise<QueueBackend> {
  let lastError: unknown
  const onError = (err: Error) => {
    lastError = err
  }
  const backend =
    redis === undefined ? openPostgresBackend({ databaseUrl, onError }) : openRedisBackend({ redis, onError })
  try {
    await withDeadline(backend.ready(), QUEUE_TIMEOUT_MS, 'connecting')
    await backend.ping()
    return backend
  } catch (err) {
    await backend.close()
    const hint = redis === undefined ? '' : '; check REDIS_URL'
    throw new Error(`cannot use the queue: ${reasonOf(lastError ?? err)}${hint}`, { cause: err })
  }
}

type OnProgress = NonNullable<ReplayOptions['onProgress']>

/** Shows progress. An error tells from where to go on. */
async function watch<T>(ctx: CommandContext, work: (onProgress: OnProgress) => Promise<T>): Promise<T> {
  let progress: Progress | undefined
  let readUntil: Date | undefined
  try {
    return await work((report, { done, total }) => {
      readUntil = report.read_until
      progress ??= commandProgress(ctx, 'completed jobs', total)
      progress.update(done, `${formatCount(report.stored)} were missing`)
    })
  } catch (err) {
    const goOn = readUntil === undefined ? 'Nothing was changed.' : goOnFrom(readUntil)
    throw new Error(`${reasonOf(err)}\n${goOn}`, { cause: err })
  } finally {
    progress?.finish()
  }
}

function formatResult(result: Result): string {
  const rows: [string, number][] = [
    ['completed jobs read', result.examined],
    ['missing, now stored', result.stored],
    ['missing, now parked', result.parked],
    ['completed with more content', result.merged],
    ['already there', result.already_there],
    ['removed before they were read', result.removed],
    ['without data', result.without_data],
    ['not readable by this version', result.failed],
  ]
  const table = formatTable(rows.map(([label, count]) => [label, formatCount(count)]))
  const ofPostgres =
    result.queue === 'postgres'
      ? ['The queue is in the database: what that has lost, the queue has lost as well.']
      : []
  return [table, ...ofPostgres, verdictOf(result)].join('\n\n')
}

function verdictOf({ stopped, read_until }: Result): string {
  if (!stopped) return 'Done.'
  return read_until === null ? 'Stopped. Nothing was changed.' : `Stopped. ${goOnFrom(read_until)}`
}

function goOnFrom(readUntil: Date): string {
  return `What was read until then is stored; --since ${readUntil.toISOString()} goes on from there.`
}

/** A refused connection to a name with several addresses is an AggregateError without a message. */
function reasonOf(err: unknown): string {
  if (err instanceof AggregateError && err.errors.length > 0) return reasonOf(err.errors[0])
  return err instanceof Error ? err.message : String(err)
}
