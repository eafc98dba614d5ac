/** `wa-ingest verify`: checks whether a message can be stored twice, and whether one is. */
import { MESSAGES } from '../db/any-table/message-index.ts'
import { queryWithClient } from '../db/any-table/query.ts'
import { type Audit, auditTable } from '../db/dedupe/audit.ts'
import { type Command, type CommandContext, textOption, writeJson, writeLine } from './command.ts'
import { openCommandDatabase } from './command-database.ts'
import { formatCount } from './progress.ts'
import { formatTable } from './table.ts'

export const command: Command = {
  name: 'verify',
  summary: 'check that the unique index is valid and no message is stored twice',
  usage: `
wa-ingest verify checks that the unique index on the message id is there, valid and the right one,
counts duplicates, rows and the quarantine, and shows the latest messages. It changes nothing.

Usage: npx wa-ingest verify [options]

  --table NAME        table, schema.table or "Table" (${MESSAGES.table})
  --column NAME       column whose values must be unique (${MESSAGES.column})
  --database-url URL  database (DATABASE_DIRECT_URL, DATABASE_URL, or the embedded one in DATA_DIR)
  --json              the result as one JSON document
  -h, --help          this text

Ends with 1 when anything is wrong.`,
  options: {
    table: { type: 'string' },
    column: { type: 'string' },
    'database-url': { type: 'string' },
    json: { type: 'boolean' },
  },
  run: verify,
}

async function verify(ctx: CommandContext): Promise<number> {
  const database = await openCommandDatabase(ctx, { applicationName: 'wa-ingest verify', max: 1 })
  const client = await database.pool.connect()
  try {
    // A limit of the role would end the reading of a large table.
    await client.query('SET statement_timeout = 0')
    const audit = await auditTable(queryWithClient(client), {
      table: textOption(ctx.values, 'table') ?? MESSAGES.table,
      column: textOption(ctx.values, 'column') ?? MESSAGES.column,
    })
    if (ctx.values.json === true) writeJson(ctx.stdout, audit)
    else writeLine(ctx.stdout, formatAudit(audit))
    return audit.ok ? 0 : 1
  } finally {
    client.release()
    await database.close()
  }
}

function formatAudit(audit: Audit): string {
  const { index, duplicates } = audit
  const checks: [boolean, string][] = [
    [index.exists, `index ${index.name} exists`],
    [index.is_valid, 'it is valid'],
    [index.is_unique, 'it is unique'],
    [index.has_right_columns && index.has_right_predicate, `it covers every ${audit.column} but null and ''`],
    [duplicates.groups === 0, `no ${audit.column} is there twice`],
  ]
  const numbers = [
    ['rows', formatCount(audit.rows)],
    [`  with ${audit.column}`, formatCount(audit.with_id)],
    ['  without', formatCount(audit.without_id)],
    ['ids there more than once', formatCount(duplicates.groups)],
    ['rows too many', formatCount(duplicates.rows)],
    ['rows in quarantine', formatCount(audit.quarantined)],
  ]
  return [
    `${audit.table}.${audit.column}`,
    '',
    ...checks.map(([isTrue, claim]) => `${isTrue ? 'ok ' : 'NO '} ${claim}`),
    '',
    formatTable(numbers),
    ...(audit.latest.length > 0 ? ['', 'Latest:', formatTable(latestRows(audit.latest))] : []),
    ...(audit.run_at_work ? ['', 'A dedupe run is at work on this table.'] : []),
    '',
    ...(audit.ok ? ['Everything is as it should be.'] : audit.problems.map((problem) => `! ${problem}`)),
  ].join('\n')
}

function latestRows(latest: Audit['latest']): string[][] {
  const names = Object.keys(latest[0] ?? {})
  return [names, ...latest.map((row) => names.map((name) => cell(row[name])))]
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  const text = value instanceof Date ? value.toISOString() : String(value)
  return text.replaceAll(/\s+/g, ' ').slice(0, 60)
}
