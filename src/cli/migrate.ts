/** `wa-ingest migrate`: brings the database to the schema of this version. */
import { createDatabase } from '../db/connect.ts'
import { migrateToLatest } from '../db/migrate.ts'
import { type Command, type CommandContext, writeJson, writeLine } from './command.ts'
import { openCommandDatabase } from './command-database.ts'

export const command: Command = {
  name: 'migrate',
  summary: 'bring the database to the schema of this version',
  usage: 'x',
  options: { 'database-url': { type: 'string' }, json: { type: 'boolean' } },
  run: migrate,
}

async function migrate(ctx: CommandContext): Promise<number> {
  const database = await openCommandDatabase(ctx, {
    applicationName: 'wa-ingest migrate',
    max: 3,
    createsData: true,
  })
  try {
    const result = await migrateToLatest(createDatabase(database.pool), {
      signal: ctx.signal,
      onWait: () => writeLine(ctx.stderr, 'waiting for another process that migrates this database'),
    })
    if (ctx.values.json === true) writeJson(ctx.stdout, result)
    else
      writeLine(
        ctx.stdout,
        result.applied.length > 0 ? `Applied ${result.applied.join(', ')}.` : 'The database is current.',
      )
    return 0
  } finally {
    await database.close()
  }
}
