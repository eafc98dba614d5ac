/** A lock that a test holds, so that what it calls stops in the middle of a transaction. */
import type { Kysely } from 'kysely'
import { expect } from 'vitest'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import type { Database } from '../../src/db/schema.ts'
import { cleanUp } from './clean-up.ts'
import { eventually } from './eventually.ts'
import type { TestDatabase } from './postgres.ts'

export type HeldLock = {
  /** Resolves when so many sessions of the database wait for a lock. */
  reached(waiting?: number): Promise<void>
  /** Runs a statement in the transaction that holds the lock. */
  run(statement: string): Promise<void>
  release(): Promise<void>
}

/** `statement`: takes the lock, for example `SELECT … FOR UPDATE`. */
export async function holdLock(database: TestDatabase, statement: string): Promise<HeldLock> {
  const holder = await database.pool.connect()
  await holder.query('BEGIN')
  await holder.query(statement)
  return {
    reached: (waiting = 1) =>
      eventually(async () => {
        const { rows } = await database.pool.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        )
        expect(rows).toHaveLength(waiting)
      }),
    run: async (next) => {
      await holder.query(next)
    },
    release: async () => {
      await holder.query('COMMIT')
      holder.release()
    },
  }
}

/** The same database through connections that use no index: where no ORDER BY says otherwise, rows come as they lie in the table. */
export function withoutIndexes({ url }: TestDatabase): Kysely<Database> {
  const plain = new URL(url)
  const settings = ['enable_indexscan', 'enable_indexonlyscan', 'enable_bitmapscan']
  plain.searchParams.set('options', settings.map((setting) => `-c ${setting}=off`).join(' '))
  const db = createDatabase(createPool({ url: plain.href, applicationName: 'test' }))
  cleanUp(() => db.destroy())
  return db
}
