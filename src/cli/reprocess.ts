/** `wa-ingest reprocess`: what is stored, read again by this version. */
import type { Kysely } from 'kysely'
import { createDatabase } from '../db/connect.ts'
import { createEventStore } from '../db/ingest/event-store.ts'
import { assertSchemaIsCurrent } from '../db/migrate.ts'
import type { ReprocessOptions } from '../db/reprocess/batches.ts'
import { countParkedEvents, type ParkedTally, reprocessParkedEvents } from '../db/reprocess/events.ts'
import { countMessagesToReprocess, type ReprocessTally, reprocessMessages } from '../db/reprocess/messages.ts'
import { countStatusesToReprocess, reprocessStatuses } from '../db/reprocess/statuses.ts'
import type { Database } from '../db/schema.ts'
import { keptFields, normalize, numberRule, PROVIDERS, reparse } from '../providers/index.ts'
import {
  type Command,
  type CommandContext,
  dateOption,
  flagOption,
  numberOption,
  writeJson,
  writeLine,
} from './command.ts'
import { openCommandDatabase } from './command-database.ts'
import { commandProgress, formatCount } from './progress.ts'
import { formatTable } from './table.ts'

const DEFAULT_BATCH_SIZE = 500
const EXIT_STOPPED = 130

export const command: Command = {
  name: 'reprocess',
  summary: 'read stored messages and parked events again with this version',
  usage: `
wa-ingest reprocess reads what is stored once more, after an update that understands more of it:

- Messages and statuses: their columns are derived again from the payload. Content, type, reply,
  media and the like change where this version reads them differently; ids, conversations,
  directions and statuses never do.
- Parked events: those that this version understands are stored as if they had just come. The parked
  rows stay, with the reason and the bytes; reprocessed_at says that they are done. So are events
  that earlier versions kept without reading them (Meta's standby and messaging_handovers).

It can run beside the service, be stopped with Ctrl-C and be started again. A second run changes
nothing.

Usage: npx wa-ingest reprocess [options]

  --dry-run           count what would change, and change nothing
  --messages          only messages and statuses
  --parked            only parked events
  --since DATE        only what was received since then: 2026-06-01 or 2026-06-01T12:00:00Z
  --batch-size N      most rows read at a time (${DEFAULT_BATCH_SIZE})
  --database-url URL  database (DATABASE_DIRECT_URL, DATABASE_URL, or the embedded one in DATA_DIR)
  --json              the result as one JSON document
  --quiet             no progress
  -h, --help          this text

Ends with 0 also when events stay parked, with 130 when it was stopped.

Examples:
  npx wa-ingest reprocess --dry-run
  npx wa-ingest reprocess --parked --since 2026-06-01`,
  options: {
    'dry-run': { type: 'boolean' },
    messages: { type: 'boolean' },
    parked: { type: 'boolean' },
    since: { type: 'string' },
    'batch-size': { type: 'string' },
    'database-url': { type: 'string' },
    json: { type: 'boolean' },
    quiet: { type: 'boolean' },
  },
  run: reprocess,
}

type Result = {
  dry_run: boolean
  /** Ctrl-C came first: the counts are of what was done until then. */
  stopped: boolean
  messages?: ReprocessTally
  statuses?: ReprocessTally
  parked?: ParkedTally
}

async function reprocess(ctx: CommandContext): Promise<number> {
  const { values, signal } = ctx
  const options: Options = {
    batchSize:
      numberOption(values, 'batch-size', { min: 1, max: 10_000, integer: true }) ?? DEFAULT_BATCH_SIZE,
    since: dateOption(values, 'since'),
    isDryRun: flagOption(values, 'dry-run'),
    signal,
  }
  const database = await openCommandDatabase(ctx, { applicationName: 'wa-ingest reprocess', max: 4 })
  const db = createDatabase(database.pool)
  try {
    await assertSchemaIsCurrent(db)
    const result = await run(ctx, db, options)
    if (values.json === true) writeJson(ctx.stdout, result)
    else writeLine(ctx.stdout, formatResult(result))
    return result.stopped ? EXIT_STOPPED : 0
  } finally {
    await database.close()
  }
}

type Options = Omit<ReprocessOptions, 'onProgress'>

async function run(ctx: CommandContext, db: Kysely<Database>, options: Options): Promise<Result> {
  const [isMessages, isParked] = [flagOption(ctx.values, 'messages'), flagOption(ctx.values, 'parked')]
  const isBoth = isMessages === isParked
  const parser = { reparse, normalize, keptFields }
  const { since, isDryRun } = options
  const result: Result = { dry_run: isDryRun, stopped: false }

  // Before the messages, so that those recovered here are read by the same version already.
  if (isParked || isBoth) {
    const store = createEventStore({ db, isCounted: false, choosesNumber: numberRule(PROVIDERS) })
    const progress = progressOf(ctx, 'parked events', await countParkedEvents(db, parser, since), options)
    result.parked = await progress((watched) => reprocessParkedEvents({ db, store, parser }, watched))
  }
  if (isMessages || isBoth) {
    const messages = progressOf(ctx, 'messages', await countMessagesToReprocess(db, since), options)
    result.messages = await messages((watched) => reprocessMessages(db, parser, watched))
    const statuses = progressOf(ctx, 'statuses', await countStatusesToReprocess(db, since), options)
    result.statuses = await statuses((watched) => reprocessStatuses(db, parser, watched))
  }
  return { ...result, stopped: options.signal.aborted }
}

/** Runs a step under a progress line of its own. */
function progressOf(ctx: CommandContext, label: string, total: number, options: Options) {
  return async <Tally>(step: (watched: ReprocessOptions) => Promise<Tally>): Promise<Tally> => {
    const progress = commandProgress(ctx, label, total)
    try {
      return await step({ ...options, onProgress: (examined) => progress.update(examined) })
    } finally {
      progress.finish()
    }
  }
}

function formatResult({ dry_run, stopped, messages, statuses, parked }: Result): string {
  const read = [['messages', messages] as const, ['statuses', statuses] as const].flatMap(([name, tally]) =>
    tally === undefined ? [] : [rowOf(name, tally)],
  )
  const readTable = [['', 'read', dry_run ? 'would change' : 'changed', 'left alone'], ...read]
  const parkedTable = parked && [
    ['', 'tried', dry_run ? 'understood' : 'recovered', 'still parked'],
    ['parked events', ...[parked.examined, parked.recovered, parked.still_parked].map(formatCount)],
  ]
  const reasons = Object.entries(parked?.reasons ?? {}).sort(([, a], [, b]) => b - a)
  return [
    ...(read.length > 0 ? [formatTable(readTable)] : []),
    ...(parkedTable ? [formatTable(parkedTable)] : []),
    ...(reasons.length > 0
      ? [
          ['Still parked:', formatTable(reasons.map(([reason, count]) => [reason, formatCount(count)]))].join(
            '\n',
          ),
        ]
      : []),
    verdictOf({ dry_run, stopped }),
  ].join('\n\n')
}

function rowOf(name: string, { examined, changed, left }: ReprocessTally): string[] {
  return [name, ...[examined, changed, left].map(formatCount)]
}

function verdictOf({ dry_run, stopped }: Result): string {
  if (stopped)
    return 'Stopped. The same command begins again from the start and repeats nothing that is done.'
  return dry_run ? 'Nothing was changed: this was a dry run.' : 'Done.'
}
