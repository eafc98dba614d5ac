/** `wa-ingest simulate`: traffic as Meta sends it, then the proof that each message is stored once. */
import type { Kysely } from 'kysely'
import { createDatabase, createPool } from '../db/connect.ts'
import { SQLSTATE, sqlStateOf } from '../db/errors.ts'
import type { Database } from '../db/schema.ts'
import { type Command, type CommandContext, writeJson, writeLine } from './command.ts'
import { commandProgress } from './progress.ts'
import { type Audit, auditRun } from './simulate/audit.ts'
import { type Delivery, deliver } from './simulate/delivery.ts'
import { createPoster } from './simulate/post.ts'
import { createReport, formatReport } from './simulate/report.ts'
import { DEFAULTS, readSettings, type SimulationSettings } from './simulate/settings.ts'
import { countRows } from './simulate/stored-rows.ts'
import { createTraffic, type Traffic } from './simulate/traffic.ts'

const QUERY_TIMEOUT_MS = 60_000

export const command: Command = {
  name: 'simulate',
  summary: 'send signed webhooks to a running service, then count what was stored',
  usage: `
wa-ingest simulate sends signed webhooks to a running service as Meta does: text, images and
statuses, single and batched, some of them again. Whatever is not answered with 200 is sent again,
with growing pauses. Then it counts in the database: sent, acknowledged, stored, doubled, lost.
It ends with 0 only if every webhook was acknowledged and everything in it is stored exactly once.

The messages are invented, come from +1 555 numbers, and stay in the database.

Usage: npx wa-ingest simulate [options]

What is sent:
  --messages N          messages to send (${DEFAULTS.messages}); statuses come on top
  --redeliveries SHARE  webhooks sent again although acknowledged, at once or later (${DEFAULTS.redeliveries})
  --batch N             messages and statuses in a webhook, 1 to 1000 (most have 1, some up to 50)
  --mix LIST            in which proportion (${DEFAULTS.mix})
  --conversations N     people who write (one for every ten messages)
  --seed N              repeats the traffic of an earlier run, under message ids of its own (random)

How it is sent:
  --url URL             address of the service (http://127.0.0.1:PORT)
  --secret SECRET       app secret to sign with (META_APP_SECRET, or the one in DATA_DIR)
  --rate N              webhooks per second (as fast as they are answered)
  --concurrency N       webhooks on their way at a time (${DEFAULTS.concurrency})
  --timeout SECONDS     how long a refused webhook is sent again, and how long the count waits
                        when nothing more is stored (${DEFAULTS.timeoutSeconds})

How it is counted:
  --database-url URL    database of the service (DATABASE_URL, or the embedded one in DATA_DIR)
  --json                the result as one JSON document
  --quiet               no progress
  -h, --help            this text

Examples:
  npx wa-ingest simulate --messages 10000
  npx wa-ingest simulate --messages 5000 --rate 200 --redeliveries 0.5 --batch 10 --json`,
  options: {
    messages: { type: 'string' },
    redeliveries: { type: 'string' },
    batch: { type: 'string' },
    mix: { type: 'string' },
    conversations: { type: 'string' },
    seed: { type: 'string' },
    url: { type: 'string' },
    secret: { type: 'string' },
    rate: { type: 'string' },
    concurrency: { type: 'string' },
    timeout: { type: 'string' },
    'database-url': { type: 'string' },
    json: { type: 'boolean' },
    quiet: { type: 'boolean' },
  },
  run: simulate,
}

async function simulate(ctx: CommandContext): Promise<number> {
  const settings = readSettings(ctx)
  const pool = createPool({
    url: settings.databaseUrl,
    applicationName: 'wa-ingest simulate',
    max: 2,
    queryTimeoutMs: QUERY_TIMEOUT_MS,
  })
  const db = createDatabase(pool)
  try {
    await assertReadable(db, settings.databaseUrl)
    const traffic = createTraffic(settings.traffic)
    const delivery = await send(ctx, settings, traffic)
    const audit = await count(ctx, settings, { db, traffic, delivery })
    const report = createReport({ settings, traffic, delivery, audit })
    if (ctx.values.json === true) writeJson(ctx.stdout, report)
    else writeLine(ctx.stdout, formatReport(report))
    return report.ok ? 0 : 1
  } finally {
    await db.destroy()
  }
}

async function send(ctx: CommandContext, settings: SimulationSettings, traffic: Traffic): Promise<Delivery> {
  const poster = createPoster(settings.url, settings.appSecret, settings.concurrency)
  const progress = commandProgress(ctx, 'sending webhooks', traffic.deliveryCount)
  let hasProgress = false
  try {
    return await deliver({
      ...settings,
      traffic,
      poster,
      signal: ctx.signal,
      onProgress(done, refused) {
        hasProgress = true
        progress.update(done, refused > 0 ? `${refused} refused` : undefined)
      },
    })
  } finally {
    // A run that ends at its first webhook has only its error to show.
    if (hasProgress) progress.finish()
    poster.close()
  }
}

async function count(
  ctx: CommandContext,
  { timeoutMs }: SimulationSettings,
  run: { db: Kysely<Database>; traffic: Traffic; delivery: Delivery },
): Promise<Audit> {
  let acknowledged = 0
  for (let webhook = 0; webhook < run.traffic.webhookCount; webhook++) {
    if (run.delivery.wasAcknowledged(webhook)) acknowledged += run.traffic.eventsOf(webhook).length
  }
  const progress = commandProgress(ctx, 'counting what is stored', acknowledged)
  try {
    return await auditRun({
      ...run,
      acknowledged,
      timeoutMs,
      signal: ctx.signal,
      onProgress: (stored) => progress.update(stored, missing(acknowledged - stored)),
    })
  } finally {
    progress.finish()
  }
}

function missing(count: number): string | undefined {
  return count > 0 ? `${count} still missing` : undefined
}

/** Before anything is sent, because afterwards it would be too late to count. */
async function assertReadable(db: Kysely<Database>, databaseUrl: string): Promise<void> {
  try {
    await countRows(db, [
      { kind: 'message', wa_message_id: 'wamid.none' },
      { kind: 'status', wa_message_id: 'wamid.none', status: 'sent' },
    ])
  } catch (err) {
    const isMissing = sqlStateOf(err) === SQLSTATE.UNDEFINED_TABLE
    const nextStep = isMissing
      ? 'it has no table chat_messages. Is it the database of the service? If so, run npx wa-ingest migrate'
      : `${reasonOf(err)}. Give the database of the service with DATABASE_URL or --database-url`
    throw new Error(`cannot count in the database ${withoutPassword(databaseUrl)}: ${nextStep}`, {
      cause: err,
    })
  }
}

function reasonOf(err: unknown): string {
  if (err instanceof AggregateError && err.message === '') return reasonOf(err.errors[0])
  return err instanceof Error ? err.message : String(err)
}

function withoutPassword(databaseUrl: string): string {
  const url = URL.parse(databaseUrl)
  return url ? `${url.host}${url.pathname}` : '(its URL cannot be read)'
}
