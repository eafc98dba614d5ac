/** `wa-ingest backfill`: what Twilio has and the database has not. */
import { loadConfig } from '../config/load-config.ts'
import type { ProviderName } from '../core/event.ts'
import { createDatabase } from '../db/connect.ts'
import { createEventStore } from '../db/ingest/event-store.ts'
import { assertSchemaIsCurrent } from '../db/migrate.ts'
import { numberRule, PROVIDERS } from '../providers/index.ts'
import { HistoryError, type MessageHistory } from '../providers/message-history.ts'
import type { Sender } from '../providers/sender.ts'
import { type BackfillReport, runBackfill } from '../worker/backfill.ts'
import {
  type Command,
  type CommandContext,
  dateOption,
  flagOption,
  UsageError,
  writeJson,
  writeLine,
} from './command.ts'
import { openCommandDatabase } from './command-database.ts'
import { commandProgress, formatCount } from './progress.ts'
import { formatTable } from './table.ts'

const EXIT_STOPPED = 130

export const command: Command = {
  name: 'backfill',
  summary: 'fetch messages from Twilio whose webhooks never came',
  usage: `
wa-ingest backfill reads Twilio's list of messages, received and sent, and stores those that are missing here,
with the status that Twilio knows. Twilio does not deliver a webhook again after an outage; Meta does, for
7 days, so there is nothing to fetch from Meta.

It begins an hour before the place where the last run ended, the first time a day back. What is younger than
15 minutes is left to its webhook. SMS of the same account are left alone. A webhook that comes later adds
what the list does not have. It can run beside the service, be stopped with Ctrl-C and be started again. A
second run changes nothing.

The workers do the same by themselves, see TWILIO_BACKFILL_MINUTES in docs/configuration.md.

Usage: npx wa-ingest backfill [options]

  --since DATE        begin there: 2026-06-01 or 2026-06-01T12:00:00Z
  --dry-run           count what is missing, and store nothing
  --database-url URL  database (DATABASE_DIRECT_URL, DATABASE_URL, or the embedded one in DATA_DIR)
  --json              the result as one JSON document
  --quiet             no progress
  -h, --help          this text

Needs TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN. Ends with 1 when Twilio could not be read to the end, with
130 when it was stopped; what was read until then is stored.

Examples:
  npx wa-ingest backfill --dry-run
  npx wa-ingest backfill --since 2026-06-01`,
  options: {
    since: { type: 'string' },
    'dry-run': { type: 'boolean' },
    'database-url': { type: 'string' },
    json: { type: 'boolean' },
    quiet: { type: 'boolean' },
  },
  run: backfill,
}

type Result = Omit<BackfillReport, 'stopped'> & { dry_run: boolean; stopped: boolean }

async function backfill(ctx: CommandContext): Promise<number> {
  const { values, signal } = ctx
  const isDryRun = flagOption(values, 'dry-run')
  const since = dateOption(values, 'since')
  if (since !== undefined && since.getTime() > Date.now())
    throw new UsageError('--since is in the future: there is nothing to fetch')
  const { label, provider, sender, history } = findSource(ctx)
  const database = await openCommandDatabase(ctx, { applicationName: 'wa-ingest backfill', max: 4 })
  const db = createDatabase(database.pool)
  const progress = commandProgress(ctx, `messages of ${label}`)
  try {
    await assertSchemaIsCurrent(db)
    const report = await runBackfill({
      db,
      store: createEventStore({ db, choosesNumber: numberRule(PROVIDERS) }),
      provider,
      sender,
      history,
      since,
      isDryRun,
      signal,
      onProgress: ({ examined, stored }, day) =>
        progress.update(examined, `${day} · ${formatCount(stored)} missing`),
    }).finally(() => progress.finish())
    const result: Result = { dry_run: isDryRun, ...report }
    if (values.json === true) writeJson(ctx.stdout, result)
    else writeLine(ctx.stdout, formatResult(label, result))
    return result.stopped ? EXIT_STOPPED : 0
  } catch (err) {
    throw describeFailure(err)
  } finally {
    await database.close()
  }
}

type Source = { label: string; provider: ProviderName; sender: Sender; history: MessageHistory }

/** The first provider that keeps a list of messages and is set up. @throws Error that names what is not set. */
function findSource({ env }: CommandContext): Source {
  const { providers } = loadConfig(env, { needsSecrets: false })
  const listing = providers.filter(({ history }) => history !== undefined)
  for (const { label, name, createSender } of listing) {
    const sender = createSender()
    if (sender?.history !== undefined) return { label, provider: name, sender, history: sender.history }
  }
  const missing = listing.map(({ sendingCredentials, values, history }) => {
    const names = sendingCredentials.filter((name) => values[name] === undefined)
    return `not set: ${names.join(', ')}; ${history?.credentialsHint}`
  })
  throw new Error(missing.join('\n'))
}

function describeFailure(err: unknown): unknown {
  if (!(err instanceof HistoryError) || err.kind === 'credentials') return err
  return new Error(
    `${err.message}\nWhat was read until then is stored; the same command goes on from there.`,
    { cause: err },
  )
}

function formatResult(label: string, { dry_run, stopped, ...report }: Result): string {
  const { examined, stored, statuses, identified, held_back, parked, other_channels, since, until } = report
  const rows: [string, number][] = [
    ['messages read', examined],
    [dry_run ? 'missing' : 'stored', stored],
    [dry_run ? 'statuses missing' : 'statuses stored', statuses],
    ['sends found again', identified],
    ['held back: may be a send whose outcome is unknown', held_back],
    ['parked', parked],
    ['of other channels, left alone', other_channels],
  ]
  return [
    `${label}'s list from ${since.toISOString()} to ${until.toISOString()}`,
    formatTable(rows.map(([label, count]) => [label, formatCount(count)])),
    verdictOf(dry_run, stopped),
  ].join('\n\n')
}

function verdictOf(isDryRun: boolean, isStopped: boolean): string {
  if (isStopped) return 'Stopped. The same command goes on from there.'
  return isDryRun ? 'Nothing was changed: this was a dry run.' : 'Done.'
}
