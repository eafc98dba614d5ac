/** `wa-ingest migrate`: brings the database to the schema of this version, and adopts the tables of an old system. */
import type { Config } from '../config/config-groups.ts'
import { loadConfig } from '../config/load-config.ts'
import { phoneDigits } from '../core/phone.ts'
import { type Adoption, type AdoptOptions, adoptOldTables } from '../db/adopt/adopt.ts'
import { createDatabase } from '../db/connect.ts'
import { type MigrateResult, migrateToLatest } from '../db/migrate.ts'
import { PROVIDER_NAMES, PROVIDERS } from '../providers/index.ts'
import {
  type Command,
  type CommandContext,
  flagOption,
  textOption,
  UsageError,
  writeJson,
  writeLine,
} from './command.ts'
import { openCommandDatabase } from './command-database.ts'
import { formatCount } from './progress.ts'
import { createStepProgress } from './step-progress.ts'

export const command: Command = {
  name: 'migrate',
  summary: 'bring the database to the schema of this version; take over an old chat_messages',
  usage: `
wa-ingest migrate brings the database to the schema of this version. Several may run at once.

A database that has chat_messages from another system is taken over: what is missing is added, ids,
data and extra columns stay. What cannot be taken over is refused, each reason with the next
command, before anything is changed (docs/adopting.md).

Usage: npx wa-ingest migrate [options]

  --database-url URL       database (DATABASE_DIRECT_URL, DATABASE_URL, or the embedded one in DATA_DIR)
  --json                   the result as one JSON document
  --quiet                  no progress
  -h, --help               this text

Taking over another system's tables:
  --dry-run                change nothing; say whether it can be done, and what is taken for granted
  --rename-old             rename what is in the way to old_…, with everything in it
  --rewrite                rewrite a large table where column types need it; nobody can use it meanwhile
  --outbound-when SQL      true for messages that the business sent, e.g. "sender = 'agent'"
  --phone-column NAME      the other side's phone: conversations.<column> or chat_messages.<column>
  --provider NAME          ${PROVIDER_NAMES.join(' or ')}, for messages whose id does not tell
  --business-number TEXT   the business's own number with that provider: Meta's phone number id, or
                           Twilio's number (${PROVIDERS.map(({ defaultNumberVariable }) => defaultNumberVariable).join(', ')})`,
  options: {
    'database-url': { type: 'string' },
    'dry-run': { type: 'boolean' },
    'rename-old': { type: 'boolean' },
    rewrite: { type: 'boolean' },
    'outbound-when': { type: 'string' },
    'phone-column': { type: 'string' },
    provider: { type: 'string' },
    'business-number': { type: 'string' },
    json: { type: 'boolean' },
    quiet: { type: 'boolean' },
  },
  run: migrate,
}

async function migrate(ctx: CommandContext): Promise<number> {
  const options = readAdoptOptions(ctx, loadConfig(ctx.env, { needsSecrets: false }))
  const database = await openCommandDatabase(ctx, {
    applicationName: 'wa-ingest migrate',
    max: 1,
    createsData: true,
  })
  const steps = createStepProgress(ctx)
  let result: MigrateResult<Adoption>
  try {
    result = await migrateToLatest(createDatabase(database.pool), {
      signal: ctx.signal,
      isDryRun: options.isDryRun === true,
      adopt: (db, schema, signal) =>
        adoptOldTables(db, schema, { ...options, onProgress: steps.update }, signal),
      onWait: () => writeLine(ctx.stderr, 'waiting for another process that migrates this database'),
    })
  } finally {
    steps.finish()
    await database.close()
  }
  if (ctx.values.json === true) writeJson(ctx.stdout, result)
  else writeLine(ctx.stdout, format(result, options.isDryRun === true))
  return 0
}

function readAdoptOptions({ values }: CommandContext, config: Config): AdoptOptions {
  const provider = textOption(values, 'provider')
  if (provider !== undefined && !PROVIDER_NAMES.includes(provider))
    throw new UsageError(`--provider is ${PROVIDER_NAMES.join(' or ')}, not "${provider}"`)
  const businessNumber = textOption(values, 'business-number')
  const outboundWhen = textOption(values, 'outbound-when')
  const phoneColumn = textOption(values, 'phone-column')
  return {
    isDryRun: flagOption(values, 'dry-run'),
    renameOld: flagOption(values, 'rename-old'),
    canRewrite: flagOption(values, 'rewrite'),
    providers: adoptedProviders(config, { provider, businessNumber }),
    ...(provider === undefined ? {} : { provider }),
    ...(outboundWhen === undefined ? {} : { outboundWhen }),
    ...(phoneColumn === undefined ? {} : { phoneColumn }),
  }
}

/** `businessNumber` is the number with this provider, or with the first one. */
function adoptedProviders(
  { providers }: Config,
  {
    provider = PROVIDER_NAMES[0],
    businessNumber,
  }: { provider?: string | undefined; businessNumber?: string | undefined },
): AdoptOptions['providers'] {
  const given = businessNumber === undefined ? undefined : (phoneDigits(businessNumber) ?? businessNumber)
  return providers.map(({ name, messageIds, defaultNumber = '', choosesNumber, defaultNumberVariable }) => {
    const configured = choosesNumber?.(defaultNumber) ? '' : defaultNumber
    return {
      name,
      idPattern: messageIds.own,
      number: name === provider ? (given ?? configured) : configured,
      numberVariable: defaultNumberVariable,
    }
  })
}

function format({ applied, adopted, pending = [] }: MigrateResult<Adoption>, isDryRun: boolean): string {
  if (pending.length > 0) return `Nothing was changed. To be applied: ${pending.join(', ')}.`
  if (adopted === undefined)
    return applied.length > 0 ? `Applied ${applied.join(', ')}.` : 'The database is current.'
  const lines = isDryRun ? formatDryRun(adopted) : formatAdoption(adopted)
  return [...lines, ...adopted.notes.map((note) => `! ${note}`)].join('\n')
}

function formatDryRun({ tables, renamed, messages }: Adoption): string[] {
  if (tables.length === 0 && renamed.length === 0)
    return ['Nothing was changed. The tables that are missing can be made.']
  return [
    `Nothing was changed. ${list(tables)} can be taken over, with ${formatCount(messages)} messages.`,
    ...(renamed.length > 0 ? [`To be renamed to old_…: ${renamed.join(', ')}.`] : []),
  ]
}

function formatAdoption(adopted: Adoption): string[] {
  const { tables, renamed, messages, conversations, conversations_with_phone } = adopted
  if (tables.length === 0 && renamed.length === 0) return ['The tables that were missing are made.']
  return [
    `Took over ${list(tables)}: ${formatCount(messages)} messages in ${formatCount(conversations)} conversations, ${formatCount(conversations_with_phone)} of them with a phone.`,
    ...(renamed.length > 0 ? [`Renamed to old_…: ${renamed.join(', ')}.`] : []),
  ]
}

function list(names: readonly string[]): string {
  return names.length === 0 ? 'Nothing' : names.join(', ')
}
