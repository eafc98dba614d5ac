/**
 * How long `wa-ingest dedupe --apply` takes on a large table in use, what it needs, and how long a writer waits for it:
 * the numbers in docs/adopting.md.
 *
 *   node bench/dedupe.ts --rows 1000000 --duplicates 0.05 [--writers 4] [--rate 200] [--database-url URL] [--json]
 *
 * Without --database-url it brings its own PostgreSQL, for the length of the run.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Client } from 'pg'
import { residentBytesOf } from '../rig/process-times.ts'
import type { DedupeResult } from '../src/db/dedupe/apply.ts'
import { startEmbeddedPostgres } from '../src/local/embedded-postgres.ts'
import { launchProcess } from '../test/support/child-process.ts'

const PROJECT = path.resolve(import.meta.dirname, '..')
const UNIQUE_VIOLATION = '23505'
const POLL_MS = 50

type Settings = { rows: number; duplicates: number; writers: number; rate: number }

type Measured = Awaited<ReturnType<typeof measure>>

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rows: { type: 'string', default: '1000000' },
      duplicates: { type: 'string', default: '0.05' },
      writers: { type: 'string', default: '4' },
      rate: { type: 'string', default: '200' },
      'database-url': { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const settings: Settings = {
    rows: Number(values.rows),
    duplicates: Number(values.duplicates),
    writers: Number(values.writers),
    rate: Number(values.rate),
  }
  const measured = await withDatabase(values['database-url'], (url) => measure(url, settings))
  process.stdout.write(values.json ? `${JSON.stringify(measured, null, 2)}\n` : format(measured))
  if (!measured.verified || measured.errors_of_writers.length > 0) process.exitCode = 1
}

async function withDatabase<Result>(
  databaseUrl: string | undefined,
  work: (url: string) => Promise<Result>,
): Promise<Result> {
  if (databaseUrl !== undefined) return work(databaseUrl)
  const directory = mkdtempSync(path.join(tmpdir(), 'wa-ingest-bench-dedupe-'))
  const postgres = await startEmbeddedPostgres({ dataDir: directory })
  try {
    return await work(postgres.url)
  } finally {
    await postgres.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measure(url: string, settings: Settings) {
  const admin = await connect(url)
  await fill(admin, settings)
  const { rows: sizes } = await admin.query<{ bytes: string; version: string }>(
    `SELECT pg_total_relation_size('chat_messages') AS bytes, current_setting('server_version') AS version`,
  )
  const writers = Array.from({ length: settings.writers }, (_, n) => startWriter(url, n, settings))
  const startedAt = performance.now()
  const run = await runCli(url, ['dedupe', '--apply', '--json'])
  const result: DedupeResult = JSON.parse(run.stdout)
  const durationMs = performance.now() - startedAt
  const written = await Promise.all(writers.map((writer) => writer.stop()))
  const verify = await runCli(url, ['verify', '--json'])
  await admin.end()
  return {
    machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GB`,
    postgres: sizes[0]?.version ?? '',
    rows: settings.rows,
    duplicates: Math.round(settings.rows * settings.duplicates),
    table_bytes: Number(sizes[0]?.bytes ?? 0),
    duration_s: Math.round(durationMs / 100) / 10,
    peak_memory_mb: Math.round(run.peakMemoryBytes / 2 ** 20),
    longest_writer_statement_ms: Math.round(Math.max(0, ...written.map(({ longestMs }) => longestMs))),
    statements_by_writers: written.reduce((sum, { statements }) => sum + statements, 0),
    written_during_run: written.reduce((sum, { messages }) => sum + messages, 0),
    errors_of_writers: [...new Set(written.flatMap(({ errors }) => errors))],
    moved: result.moved,
    longest_batch_ms: result.longest_batch_ms,
    verified: verify.code === 0 && result.outcome === 'done',
  }
}

/** Ids as long as Meta's, texts of a usual length, an attachment to every fifth message; the copies are the last rows. */
async function fill(admin: Client, { rows, duplicates }: Settings): Promise<void> {
  const originals = rows - Math.round(rows * duplicates)
  await admin.query(`
    CREATE TABLE chat_messages (
      id serial PRIMARY KEY, conversation_id integer, wa_message_id varchar(255), content text,
      message_type varchar(50) DEFAULT 'text', created_at timestamp DEFAULT now());
    CREATE TABLE attachments (
      id serial PRIMARY KEY, message_id integer NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE, url text)`)
  await admin.query(
    `INSERT INTO chat_messages (conversation_id, wa_message_id, content)
     SELECT n % 20000, 'wamid.HBgL' || md5((CASE WHEN n > $2 THEN (n - $2) * 17 % $2 + 1 ELSE n END)::text) || 'FQIAEhgUM0E==',
       repeat('text of a message ', 1 + n % 12)
     FROM generate_series(1, $1::int) n`,
    [rows, originals],
  )
  await admin.query(
    `INSERT INTO attachments (message_id, url) SELECT id, 'https://example.test/' || id FROM chat_messages WHERE id % 5 = 0`,
  )
  await admin.query('VACUUM ANALYZE chat_messages, attachments')
}

type Written = { messages: number; statements: number; longestMs: number; errors: string[] }

/** Messages at an even rate, every second one a duplicate, each with an attachment and a change to an old row. */
function startWriter(
  url: string,
  number: number,
  { rows, writers, rate }: Settings,
): { stop(): Promise<Written> } {
  const written: Written = { messages: 0, statements: 0, longestMs: 0, errors: [] }
  let isStopped = false
  const run = (async () => {
    const client = await connect(url)
    const timed = async (text: string, values: unknown[]) => {
      const startedAt = performance.now()
      try {
        return await client.query(text, values)
      } finally {
        written.longestMs = Math.max(written.longestMs, performance.now() - startedAt)
        written.statements++
      }
    }
    for (let n = 0; !isStopped; n++) {
      const id = n % 2 === 0 ? `wamid.new.${number}.${n}` : `wamid.hot.${n % 50}`
      try {
        const { rows: inserted } = await timed(
          `INSERT INTO chat_messages (conversation_id, wa_message_id, content) VALUES ($1, $2, 'new') RETURNING id`,
          [n, id],
        )
        await timed(`INSERT INTO attachments (message_id, url) VALUES ($1, 'new')`, [inserted[0]?.id])
        await timed(`UPDATE chat_messages SET content = content || '.' WHERE id = $1`, [
          1 + ((n * 7919) % rows),
        ])
        written.messages++
      } catch (err) {
        // From the moment the index is valid and the guard is down, it refuses duplicates: that is what it is for.
        if (!isRefusedByIndex(err)) written.errors.push(String(err))
      }
      await delay((1_000 * writers) / rate)
    }
    await client.end()
  })()
  return {
    async stop() {
      isStopped = true
      await run
      return written
    },
  }
}

function isRefusedByIndex(err: unknown): boolean {
  return err instanceof Error && 'code' in err && err.code === UNIQUE_VIOLATION
}

async function connect(url: string): Promise<Client> {
  const client = new Client(url)
  await client.connect()
  return client
}

/** The command as a process of its own, its memory read from the system while it runs. */
async function runCli(url: string, args: readonly string[]) {
  const command = [path.join(PROJECT, 'src/cli/main.ts'), ...args, '--database-url', url]
  const child = launchProcess(process.execPath, command, { cwd: PROJECT })
  let peakMemoryBytes = 0
  const timer = setInterval(() => {
    peakMemoryBytes = Math.max(peakMemoryBytes, residentBytesOf(child.pid, 'VmHWM') ?? 0)
  }, POLL_MS)
  const { code } = await child.ended
  clearInterval(timer)
  return { code, stdout: child.stdout, peakMemoryBytes }
}

function format(measured: Measured): string {
  return `${Object.entries(measured)
    .map(([name, value]) => `${name.padEnd(28)} ${Array.isArray(value) ? value.join('; ') : String(value)}`)
    .join('\n')}\n`
}

await main()
