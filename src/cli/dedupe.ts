/** `wa-ingest dedupe`: reports duplicates in a table, and moves them. */

import { MESSAGES } from '../db/any-table/message-index.ts'
import { queryWithClient } from '../db/any-table/query.ts'
import { describeTarget, type TargetOptions } from '../db/any-table/target.ts'
import { applyDedupe, cleanUpDedupe, DEFAULT_BATCH_SIZE, type DedupeResult } from '../db/dedupe/apply.ts'
import { commandFor } from '../db/dedupe/audit.ts'
import { reportDuplicates } from '../db/dedupe/report.ts'
import type { DedupeStep } from '../db/dedupe/run.ts'
import {
  type Command,
  type CommandContext,
  flagOption,
  numberOption,
  textOption,
  UsageError,
  writeJson,
  writeLine,
} from './command.ts'
import { type CommandDatabase, openCommandDatabase } from './command-database.ts'
import { formatReport } from './dedupe/format-report.ts'
import { formatResult } from './dedupe/format-result.ts'
import { createStepProgress } from './step-progress.ts'

const EXIT_STOPPED = 130

const STEP_LABELS: Record<DedupeStep, string> = {
  prepare: 'preparing',
  move: 'moving duplicates',
  index: 'building the unique index',
  finish: 'finishing',
}

export const command: Command = {
  name: 'dedupe',
  summary: 'report duplicates of an id in a table; --apply moves them and builds the unique index',
  usage: `
wa-ingest dedupe finds messages that are stored more than once and says what it would do. It
changes nothing.

With --apply it does it, while the table is in use: keeps the first row of each id, points foreign
keys at it, moves the other rows whole into chat_messages_duplicates, and builds the unique index.
No writer waits for longer than a second. Duplicates that arrive in the meantime go the same way.
Nothing is deleted. Ctrl-C stops it; the same command goes on where it was.

Usage: npx wa-ingest dedupe [options]

  --apply             do it
  --merge             fill what the kept row lacks from later copies
  --batch-size N      most rows moved in one transaction (${DEFAULT_BATCH_SIZE})
  --replace-index     replace an index of the same name that has another definition
  --clean-up          only remove triggers and indexes that a killed run left

Which table:
  --table NAME        table, schema.table or "Table" (${MESSAGES.table})
  --column NAME       column whose values must be unique (${MESSAGES.column})
  --order-by COLUMN   the first row in this order stays (the primary key)
  --database-url URL  database (DATABASE_DIRECT_URL, DATABASE_URL, or the embedded one in DATA_DIR)

  --json              the result as one JSON document
  --quiet             no progress
  -h, --help          this text

Ends with 1 when ids are left that could not be cleaned, with 130 when it was stopped.

Examples:
  npx wa-ingest dedupe
  npx wa-ingest dedupe --apply
  npx wa-ingest dedupe --table '"Message"' --column wa_sid --apply`,
  options: {
    apply: { type: 'boolean' },
    merge: { type: 'boolean' },
    'batch-size': { type: 'string' },
    'replace-index': { type: 'boolean' },
    'clean-up': { type: 'boolean' },
    table: { type: 'string' },
    column: { type: 'string' },
    'order-by': { type: 'string' },
    'database-url': { type: 'string' },
    json: { type: 'boolean' },
    quiet: { type: 'boolean' },
  },
  run: dedupe,
}

async function dedupe(ctx: CommandContext): Promise<number> {
  const { values } = ctx
  const target = readTarget(ctx)
  const batchSize = numberOption(values, 'batch-size', { min: 1, max: 100_000, integer: true })
  const applies = flagOption(values, 'apply')
  const cleansUp = flagOption(values, 'clean-up')
  if (applies && cleansUp) throw new UsageError('--apply and --clean-up are two things: give one of them')
  for (const name of ['merge', 'batch-size', 'replace-index'])
    if (values[name] !== undefined && !applies) throw new UsageError(`--${name} goes with --apply`)

  const database = await openCommandDatabase(ctx, { applicationName: 'wa-ingest dedupe', max: 3 })
  try {
    if (cleansUp) return await cleanUp(ctx, database, target)
    if (!applies) return await report(ctx, database, target)
    return await apply(ctx, database, { ...target, ...(batchSize === undefined ? {} : { batchSize }) })
  } finally {
    await database.close()
  }
}

function readTarget({ values }: CommandContext): TargetOptions {
  const orderBy = textOption(values, 'order-by')
  return {
    table: textOption(values, 'table') ?? MESSAGES.table,
    column: textOption(values, 'column') ?? MESSAGES.column,
    ...(orderBy === undefined ? {} : { orderBy }),
  }
}

async function report(
  ctx: CommandContext,
  { pool }: CommandDatabase,
  options: TargetOptions,
): Promise<number> {
  const client = await pool.connect()
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  const cancel = () => {
    pool.query('SELECT pg_cancel_backend($1)', [rows[0]?.pid]).catch(() => {})
  }
  ctx.signal.addEventListener('abort', cancel)
  try {
    await client.query('BEGIN TRANSACTION READ ONLY')
    // A limit of the role would end the reading of a large table.
    await client.query('SET LOCAL statement_timeout = 0')
    const query = queryWithClient(client)
    const found = await reportDuplicates(query, await describeTarget(query, options))
    if (ctx.values.json === true) writeJson(ctx.stdout, found)
    else writeLine(ctx.stdout, formatReport(found, commandFor(options)))
    return 0
  } finally {
    ctx.signal.removeEventListener('abort', cancel)
    client.release(true)
  }
}

async function apply(
  ctx: CommandContext,
  { pool }: CommandDatabase,
  options: TargetOptions & { batchSize?: number },
): Promise<number> {
  const progress = createStepProgress(ctx, STEP_LABELS)
  let result: DedupeResult
  try {
    result = await applyDedupe(pool, {
      ...options,
      signal: ctx.signal,
      fillsGaps: flagOption(ctx.values, 'merge'),
      replaceIndex: flagOption(ctx.values, 'replace-index'),
      onProgress: progress.update,
    })
  } finally {
    progress.finish()
  }
  if (ctx.values.json === true) writeJson(ctx.stdout, result)
  else writeLine(ctx.stdout, formatResult(result))
  if (result.outcome === 'stopped') return EXIT_STOPPED
  return result.outcome === 'done' && result.left_behind === undefined ? 0 : 1
}

async function cleanUp(
  ctx: CommandContext,
  { pool }: CommandDatabase,
  options: TargetOptions,
): Promise<number> {
  const left = await cleanUpDedupe(pool, { ...options, signal: ctx.signal })
  if (ctx.values.json === true) writeJson(ctx.stdout, { left_behind: left ?? null })
  else writeLine(ctx.stdout, left === undefined ? 'Nothing temporary is left.' : `Left: ${left}`)
  return left === undefined ? 0 : 1
}
