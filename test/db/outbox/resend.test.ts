import { beforeEach, describe, expect, test } from 'vitest'
import { createResend } from '../../../src/db/outbox/resend.ts'
import { orderText, outboundOptions } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const messages = () => database.db.selectFrom('chat_messages').selectAll().orderBy('id').execute()
const setStatus = (id: string, status: string) =>
  database.db.updateTable('chat_messages').set({ status }).where('id', '=', id).execute()

describe('a resend', () => {
  test('is one row that points at the original, however many requests ask for it', async () => {
    const id = await orderText(database.db, 'maybe')
    await setStatus(id, 'unknown')

    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => createResend(database.db, id, outboundOptions())),
    )

    const rows = await messages()
    expect(rows.map(({ status, resend_of, content }) => ({ status, resend_of, content }))).toEqual([
      { status: 'unknown', resend_of: null, content: 'maybe' },
      { status: 'queued', resend_of: id, content: 'maybe' },
    ])
    expect(rows[1]?.callback_id).not.toBe(rows[0]?.callback_id)
    expect(outcomes.filter(({ kind }) => kind === 'created')).toHaveLength(1)
    expect(outcomes.filter(({ kind }) => kind === 'existing')).toHaveLength(19)
  })

  test.each(['queued', 'sending', 'accepted', 'delivered'])(
    'of a message that is %s is refused',
    async (status) => {
      const id = await orderText(database.db)
      await setStatus(id, status)

      expect(await createResend(database.db, id, outboundOptions())).toEqual({
        kind: 'refused',
        reason: 'not_resendable',
      })
    },
  )
})
