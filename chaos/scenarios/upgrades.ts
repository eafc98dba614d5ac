/** The schema changes while the version that does not know the change is at work. */
import path from 'node:path'
import { type Kysely, sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { migrations } from '../../migrations/index.ts'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { launchProcess } from '../../test/support/child-process.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { takePort } from '../world/ports.ts'
import { BACKENDS } from '../world/world.ts'

const SECOND = 1_000
const PROJECT = path.resolve(import.meta.dirname, '../..')
const MAIN = path.join(PROJECT, 'src/cli/main.ts')

export const migrateUnderLoad: Scenario = {
  name: 'migrate-under-load',
  promise:
    'a migration that adds something, under load, does not disturb the running version; started anew, that one refuses',
  backends: BACKENDS,
  seconds: 8,
  world: { workers: 2 },
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(500, 1_500)
      await migrateAgain(ctx)
    })
    await migrateFurther(ctx)
    await ctx.recover()
    await startEarlierVersion(ctx)
    await ctx.pause(2 * SECOND)
  },
}

export const upgradeScenarios = [migrateUnderLoad]

/** Two at once, as two containers would that are started together. */
async function migrateAgain({ world, check }: ScenarioContext): Promise<void> {
  const ends = await Promise.all(
    Array.from({ length: 2 }, () => {
      return launchProcess(process.execPath, [MAIN, 'migrate'], { cwd: PROJECT, env: world.env }).ended
    }),
  )
  check(
    'wa-ingest migrate has nothing to do and says so with 0',
    ends.every(({ code }) => code === 0),
  )
}

/** After the migration the version under test is the earlier one. */
async function startEarlierVersion({ world, check }: ScenarioContext): Promise<void> {
  const [api, worker] = await Promise.all(
    ['api', 'worker'].map(async (name) => {
      const env = { ...world.env, PORT: String(await takePort()) }
      return launchProcess(process.execPath, [MAIN, name], { cwd: PROJECT, env }).ended
    }),
  )
  check(`an earlier receiver does not start (${api?.code})`, api?.code === 1)
  check(`an earlier worker does not start (${worker?.code})`, worker?.code === 1)
}

/** A migration that a later version might have: a column, an index and a table. */
async function migrateFurther({ world, check }: ScenarioContext): Promise<void> {
  const db = createDatabase(createPool({ url: world.postgres.url, applicationName: 'chaos', max: 1 }))
  const next = {
    up: async (trx: Kysely<unknown>) => {
      await sql`ALTER TABLE chat_messages ADD COLUMN chaos_note text`.execute(trx)
      await sql`CREATE INDEX chaos_note_idx ON chat_messages (chaos_note) WHERE chaos_note IS NOT NULL`.execute(
        trx,
      )
      await sql`CREATE TABLE chaos_notes (id bigint PRIMARY KEY)`.execute(trx)
    },
  }
  try {
    const migrator = new Migrator({
      db,
      provider: { getMigrations: async () => ({ ...migrations, '9999-chaos': next }) },
      migrationTableName: 'wa_ingest_migrations',
      migrationLockTableName: 'wa_ingest_migrations_lock',
      migrationTableSchema: 'public',
    })
    const { error } = await migrator.migrateToLatest()
    check(`the further migration runs (${String(error ?? 'ok')})`, error === undefined)
  } finally {
    await db.destroy()
  }
}
