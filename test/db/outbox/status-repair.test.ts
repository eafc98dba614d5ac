import { randomUUID } from 'node:crypto'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { repairStatuses } from '../../../src/db/outbox/status-repair.ts'
import { statusItem } from '../../support/facts.ts'
import { META_PHONE_NUMBER_ID as business_number } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const DAY = 86_400_000

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})
beforeEach(() => database.pool.query('TRUNCATE message_statuses, chat_messages, changes CASCADE'))

const run = async (statement: string, ...values: unknown[]) =>
  (await database.pool.query(statement, values)).rows
const status = async (id: string) =>
  (await run('SELECT status FROM chat_messages WHERE id = $1', id))[0].status
const repair = (page: Partial<Parameters<typeof repairStatuses>[1]> = {}) =>
  repairStatuses(database.db, { limit: 100, maxAgeMs: DAY, ...page })

/** A message that got its id after these statuses, from a process that was killed before it applied them. */
async function leftOver(words: string[], participant = ''): Promise<string> {
  const [id, wa_message_id] = [await orderText(database.db), `wamid.${randomUUID()}`]
  await writeBatch(
    database.db,
    words.map((word, i) =>
      statusItem(wa_message_id, word, { business_number, participant: participant && participant + i }),
    ),
  )
  await run(
    `UPDATE chat_messages SET wa_message_id = $2, status = 'accepted' WHERE id = $1`,
    id,
    wa_message_id,
  )
  return id
}

describe('statuses that were stored and not applied', () => {
  test('are applied and announced, once', async () => {
    const id = await leftOver(['sent', 'failed'])
    const ofGroup = await leftOver(['delivered', 'read'], '1555000000')
    await run('DELETE FROM changes')

    for (let i = 0; i < 2; i++) expect(await repair()).toBeUndefined()

    expect(await status(id)).toBe('failed')
    expect(await status(ofGroup)).toBe('delivered')
    expect(await run('SELECT kind, message_id FROM changes ORDER BY message_id')).toEqual(
      [id, ofGroup].map((message_id) => ({ kind: 'message.status', message_id })),
    )
  })

  test('are looked for in pages, the newest first', async () => {
    const [first, second, third] = [
      await leftOver(['sent']),
      await leftOver(['read']),
      await leftOver(['failed']),
    ]

    const beforeId = await repair({ limit: 2 })
    expect([await status(first), await status(second), await status(third)]).toEqual([
      'accepted',
      'read',
      'failed',
    ])

    expect(await repair({ limit: 2, beforeId })).toBeUndefined()
    expect(await status(first)).toBe('sent')
  })

  test('are left alone when they are older', async () => {
    const old = await leftOver(['failed'])
    await run(`UPDATE message_statuses SET created_at = now() - interval '25 hours'`)
    const young = await leftOver(['failed'])

    expect(await repair({ limit: 2 })).toBeUndefined()

    expect([await status(old), await status(young)]).toEqual(['accepted', 'failed'])
  })
})
