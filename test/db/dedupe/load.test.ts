/**
 * dedupe under load. Writers have a lock_timeout of a second, so a longer wait is an error, and one error fails the test.
 */
import type { Client } from 'pg'
import { expect, test } from 'vitest'
import { createPool } from '../../../src/db/connect.ts'
import { applyDedupe } from '../../../src/db/dedupe/apply.ts'
import { cleanUp } from '../../support/clean-up.ts'
import type { TestDatabase } from '../../support/postgres.ts'
import { audit, connect, createOldDatabase, OURS, rows } from './old-table.ts'

const WRITERS = 4
const OLD_ROWS = 10_000
/** Every tenth row is a copy of an earlier one. */
const OLD_DUPLICATES = 1_000

test('writers keep inserting duplicates while dedupe runs: none fails, none waits a second, no row is lost', async ({
  annotate,
}) => {
  const database = await createBusyDatabase()
  const pool = createPool({ url: database.url, applicationName: 'dedupe', max: 3 })
  cleanUp(() => pool.end())
  const writers = Array.from({ length: WRITERS }, (_, n) => startWriter(database, n))
  await Promise.all(writers.map((writer) => writer.hasWritten))

  const result = await applyDedupe(pool, {
    ...OURS,
    signal: new AbortController().signal,
    onProgress: ({ step }) => {
      // From here on the index refuses duplicates, and a writer has to expect that.
      if (step === 'finish') for (const writer of writers) writer.stopDuplicates()
    },
  })
  const written = await Promise.all(writers.map((writer) => writer.stop()))

  expect(written.flatMap(({ errors }) => errors)).toEqual([])
  expect(result).toMatchObject({ outcome: 'done', index: 'built', left_out: [] })
  expect(result).not.toHaveProperty('left_behind')
  expect(await audit(database)).toMatchObject({ ok: true, duplicates: { groups: 0 } })
  const inserted = OLD_ROWS + written.reduce((sum, { messages }) => sum + messages, 0)
  expect(await countEverywhere(database)).toEqual({ messages: inserted, distinct_messages: inserted })
  expect(await countAttachments(database)).toEqual({
    attachments: OLD_ROWS + written.reduce((sum, { messages }) => sum + messages, 0),
    orphans: 0,
    misled: 0,
  })
  // The run met enough writers and duplicates for the checks above to mean something.
  expect(result.moved).toBeGreaterThan(OLD_DUPLICATES)
  await annotate(
    `longest statement of a writer: ${Math.round(Math.max(...written.map(({ longestMs }) => longestMs)))} ms; ` +
      `${inserted - OLD_ROWS} messages written, ${result.moved} moved, ${result.restored} restored in ${result.duration_ms} ms`,
  )
})

/** Messages, each with an attachment that says which message it belongs to. */
async function createBusyDatabase(): Promise<TestDatabase> {
  const database = await createOldDatabase()
  await database.pool.query(`
    CREATE TABLE attachments (
      id serial PRIMARY KEY, message_id integer NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE, wa_message_id text);
    INSERT INTO chat_messages (wa_message_id, content)
      SELECT 'old.' || CASE WHEN n > ${OLD_ROWS - OLD_DUPLICATES} THEN n - ${OLD_ROWS - OLD_DUPLICATES} ELSE n END, 'old'
      FROM generate_series(1, ${OLD_ROWS}) n;
    INSERT INTO attachments (message_id, wa_message_id) SELECT id, wa_message_id FROM chat_messages`)
  return database
}

type Writer = {
  hasWritten: Promise<void>
  stopDuplicates(): void
  stop(): Promise<{ messages: number; longestMs: number; errors: string[] }>
}

/** Transactions of one to three messages, many of them doubled, each with an attachment; some are rolled back. */
function startWriter(database: TestDatabase, number: number): Writer {
  const tally = { messages: 0, longestMs: 0, errors: [] as string[] }
  const { promise: hasWritten, resolve } = Promise.withResolvers<void>()
  const random = createRandom(number + 1)
  let isStopped = false
  let writesDuplicates = true
  let serial = 0

  const pickId = () => {
    serial++
    const isDuplicate = writesDuplicates && random() < 0.5
    if (!isDuplicate) return `new.${number}.${serial}`
    return random() < 0.5 ? `old.${Math.ceil(random() * 1_000)}` : `hot.${Math.ceil(random() * 20)}`
  }
  const timed = async (client: Client, text: string, values: unknown[] = []) => {
    const startedAt = performance.now()
    const result = await client.query(text, values)
    tally.longestMs = Math.max(tally.longestMs, performance.now() - startedAt)
    return result
  }
  const writeTransaction = async (client: Client) => {
    const count = 1 + Math.floor(random() * 3)
    await timed(client, 'BEGIN')
    for (let n = 0; n < count; n++) {
      const id = pickId()
      const { rows: inserted } = await timed(
        client,
        `INSERT INTO chat_messages (wa_message_id, content) VALUES ($1, 'new') RETURNING id`,
        [id],
      )
      await timed(client, 'INSERT INTO attachments (message_id, wa_message_id) VALUES ($1, $2)', [
        inserted[0]?.id,
        id,
      ])
    }
    // One row only: two writers with two rows each could deadlock without any dedupe.
    await timed(client, `UPDATE chat_messages SET content = content || '.' WHERE id = $1`, [
      Math.ceil(random() * OLD_ROWS),
    ])
    const isRolledBack = random() < 0.1
    await timed(client, isRolledBack ? 'ROLLBACK' : 'COMMIT')
    if (!isRolledBack) tally.messages += count
  }
  const run = (async () => {
    const client = await connect(database)
    while (!isStopped) {
      try {
        await writeTransaction(client)
      } catch (err) {
        tally.errors.push(String(err))
        isStopped = true
      }
      resolve()
    }
  })()
  cleanUp(() => {
    isStopped = true
  })
  return {
    hasWritten,
    stopDuplicates: () => {
      writesDuplicates = false
    },
    stop: async () => {
      isStopped = true
      await run
      return tally
    },
  }
}

/** Rows of the table and of the quarantine together, as they were written. */
async function countEverywhere(database: TestDatabase): Promise<unknown> {
  const [row] = await rows(
    database,
    `WITH everywhere AS (
       SELECT id FROM chat_messages UNION ALL SELECT original_id::int FROM chat_messages_duplicates
     )
     SELECT count(*)::int AS messages, count(DISTINCT id)::int AS distinct_messages FROM everywhere`,
  )
  return row
}

/** An attachment belongs to the row that has its message's id, whichever row that was when it was written. */
async function countAttachments(database: TestDatabase): Promise<unknown> {
  const [row] = await rows(
    database,
    `SELECT count(*)::int AS attachments, count(*) FILTER (WHERE m.id IS NULL)::int AS orphans,
       count(*) FILTER (WHERE m.wa_message_id IS DISTINCT FROM a.wa_message_id)::int AS misled
     FROM attachments a LEFT JOIN chat_messages m ON m.id = a.message_id`,
  )
  return row
}

/** Numbers that are the same in every run (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
