/** The status of a message is the greatest one that any copy or status says, whatever the order and the batches. */
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { createTestDatabase } from '../../support/postgres.ts'

type Part = (id: string) => StoreItem

const copy =
  (fact: Partial<MessageFact>): Part =>
  (id) =>
    messageItem(id, { direction: 'outbound', ...fact })

const COPIES = {
  echo: copy({ source: 'echo', status: 'sent' }),
  'history, read': copy({ source: 'history', status: 'read' }),
  'placeholder, delivered': copy({ source: 'history', status: 'delivered', is_placeholder: true }),
  'history without a status': copy({ source: 'history' }),
  'history, failed': copy({ source: 'history', status: 'failed', error: '[{"code":131026}]' }),
  'status, delivered': (id: string) => statusItem(id, 'delivered'),
} satisfies Record<string, Part>
type Name = keyof typeof COPIES

const RANKED = ['sent', 'failed', 'delivered', 'read']
const greatest = (names: readonly Name[]) =>
  RANKED.findLast((word) => names.some((name) => name.endsWith(word) || (name === 'echo' && word === 'sent')))

test('is the same in every order and in every batch', async () => {
  const { db } = await createTestDatabase()
  const names = fc
    .shuffledSubarray(Object.keys(COPIES) as Name[], { minLength: 2 })
    .filter((chosen) => chosen.some((name) => !name.startsWith('status')))

  await fc.assert(
    fc.asyncProperty(names, fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }), async (order, ends) => {
      const id = `wamid.${randomUUID()}`
      let batch: StoreItem[] = []
      for (const [index, name] of order.entries()) {
        batch.push(COPIES[name](id))
        if (ends[index] !== true && index < order.length - 1) continue
        await writeBatch(db, batch)
        batch = []
      }

      const { status } = await db
        .selectFrom('chat_messages')
        .select('status')
        .where('wa_message_id', '=', id)
        .executeTakeFirstOrThrow()
      expect(status).toBe(greatest(order) ?? null)
    }),
    { numRuns: 80 },
  )
})

test('a copy that only brings a later status is merged, announced, and a duplicate when it is repeated', async () => {
  const { db } = await createTestDatabase()
  const read = COPIES['history, read']('wamid.A')
  await writeBatch(db, [COPIES.echo('wamid.A')])

  expect(await writeBatch(db, [read])).toEqual(['merged'])
  expect(await writeBatch(db, [read])).toEqual(['duplicate'])
  const changes = await db.selectFrom('changes').select('kind').orderBy('id').execute()
  expect(changes.map(({ kind }) => kind)).toEqual(['message.created', 'message.status'])
})

test('a failure comes with its error, and a later success removes it', async () => {
  const { db } = await createTestDatabase()
  const stored = () => db.selectFrom('chat_messages').select(['status', 'error']).executeTakeFirst()
  await writeBatch(db, [COPIES.echo('wamid.A')])

  await writeBatch(db, [COPIES['history, failed']('wamid.A')])
  expect(await stored()).toEqual({ status: 'failed', error: [{ code: 131026 }] })

  await writeBatch(db, [COPIES['history, read']('wamid.A')])
  expect(await stored()).toEqual({ status: 'read', error: null })
})
