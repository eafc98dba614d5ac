import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { readCounts } from '../../../src/db/counters.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { messageItem, otherItem, RECEIVED_AT, statusItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const write = (...items: StoreItem[]) => writeBatch(database.db, items)
const messages = () => database.db.selectFrom('chat_messages').selectAll().orderBy('id').execute()
const statusOf = async (id: string) =>
  (
    await database.db
      .selectFrom('chat_messages')
      .select(['status', 'error'])
      .where('wa_message_id', '=', id)
      .executeTakeFirst()
  )?.status

describe('a message', () => {
  test('is one row, also when a batch holds it twice and two batches bring it again', async () => {
    expect(await write(messageItem('wamid.A'), messageItem('wamid.A'), messageItem('wamid.B'))).toEqual([
      'stored',
      'duplicate',
      'stored',
    ])
    expect(await write(messageItem('wamid.A'))).toEqual(['duplicate'])

    expect((await messages()).map((row) => row.wa_message_id)).toEqual(['wamid.A', 'wamid.B'])
  })

  test('is one row when 20 writers bring overlapping batches at the same time', async () => {
    const ids = Array.from({ length: 40 }, (_, i) => `wamid.${i}`)
    const batches = Array.from({ length: 20 }, (_, seed) =>
      rotated(ids, seed * 7).map((id) => messageItem(id)),
    )

    const outcomes = await Promise.all(batches.map((batch) => write(...batch)))

    expect(outcomes.flat().filter((outcome) => outcome === 'stored')).toHaveLength(40)
    expect(await messages()).toHaveLength(40)
  })

  test('keeps its columns and its payload', async () => {
    await write(
      messageItem(
        'wamid.A',
        {
          message_type: 'document',
          content: 'The offer',
          reply_to_wa_message_id: 'wamid.before',
          forwarded: true,
          referral: '{"source_id":"ad-1"}',
          media: [{ id: 'media-1', mime_type: 'application/pdf', filename: 'offer.pdf', sha256: 'abc' }],
          sent_at: new Date('2026-05-31T10:00:00Z'),
        },
        { payload: '{"id":"wamid.A","big":12345678901234567890}' },
      ),
    )

    const [row] = await messages()
    expect(row).toMatchObject({
      message_type: 'document',
      content: 'The offer',
      direction: 'inbound',
      provider: 'meta',
      source: 'webhook',
      reply_to_wa_message_id: 'wamid.before',
      forwarded: true,
      referral: { source_id: 'ad-1' },
      media_id: 'media-1',
      media_mime_type: 'application/pdf',
      media_filename: 'offer.pdf',
      media: null,
      raw: null,
      sent_at: new Date('2026-05-31T10:00:00Z'),
    })
    const { rows } = await database.pool.query(`SELECT payload->>'big' AS big FROM chat_messages`)
    expect(rows[0]).toEqual({ big: '12345678901234567890' })
  })

  test('keeps every file of a message with several', async () => {
    await write(messageItem('wamid.A', { media: [{ url: 'https://a.test/0' }, { url: 'https://a.test/1' }] }))

    expect((await messages())[0]).toMatchObject({
      media_url: 'https://a.test/0',
      media: [{ url: 'https://a.test/0' }, { url: 'https://a.test/1' }],
    })
  })

  test('survives U+0000 and lone surrogates: scrubbed in text and jsonb, exact in raw', async () => {
    const payload = '{"text":{"body":"a\\u0000b\\ud800"}}'

    await write(messageItem('wamid.A', { content: 'a\u0000b\ud800' }, { payload }))

    const [row] = await messages()
    expect(row).toMatchObject({ content: 'a\ufffdb\ufffd', payload: { text: { body: 'a\ufffdb\ufffd' } } })
    expect(row?.raw?.toString()).toBe(payload)
  })

  test('is merged when a later copy has more data, never when it has less', async () => {
    const placeholder = messageItem('wamid.A', {
      source: 'history',
      is_placeholder: true,
      message_type: 'media_placeholder',
      content: '',
    })
    const media = messageItem('wamid.A', {
      source: 'history',
      message_type: 'image',
      content: 'The view',
      media: [{ id: 'media-1' }],
    })

    expect(await write(placeholder)).toEqual(['stored'])
    expect(await write(media)).toEqual(['merged'])
    expect(await write(placeholder)).toEqual(['duplicate'])
    expect(await write(messageItem('wamid.A', { source: 'backfill', content: 'older' }))).toEqual([
      'duplicate',
    ])
    expect(await write(messageItem('wamid.A', { content: 'from the webhook' }))).toEqual(['merged'])

    const rows = await messages()
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ source: 'webhook', content: 'from the webhook' })
  })

  test('of another business number is parked, once for each number, and not dropped', async () => {
    const other = (business_number: string) => messageItem('wamid.A', { business_number })

    expect(await write(messageItem('wamid.A'))).toEqual(['stored'])
    expect(await write(other('999'), other('888'))).toEqual(['parked', 'parked'])
    expect(await write(other('999'), other('888'))).toEqual(['duplicate', 'duplicate'])

    const events = await database.db.selectFrom('webhook_events').selectAll().execute()
    expect(events).toMatchObject([
      { wa_message_id: 'wamid.A', reason: expect.stringContaining('business number') },
      { wa_message_id: 'wamid.A', reason: expect.stringContaining('business number') },
    ])
  })

  test('moves last_message_at of its conversation forward only', async () => {
    const at = (iso: string) => ({ sent_at: new Date(iso) })
    await write(
      messageItem('wamid.A', at('2026-05-02T00:00:00Z')),
      messageItem('wamid.B', at('2026-05-01T00:00:00Z')),
    )
    await write(messageItem('wamid.C', at('2026-04-01T00:00:00Z')))

    const conversations = await database.db.selectFrom('conversations').selectAll().execute()
    expect(conversations).toMatchObject([{ last_message_at: new Date('2026-05-02T00:00:00Z') }])
  })
})

test('a message from the future does not keep its conversation on top for ever', async () => {
  await write(messageItem('wamid.A', { sent_at: new Date('9999-12-31T00:00:00Z') }))

  const conversations = await database.db.selectFrom('conversations').selectAll().execute()
  expect(conversations).toMatchObject([{ last_message_at: new Date(RECEIVED_AT) }])
})

describe('a status', () => {
  test('is one row for each message, word and participant', async () => {
    expect(await write(statusItem('wamid.A', 'sent'), statusItem('wamid.A', 'sent'))).toEqual([
      'stored',
      'duplicate',
    ])
    expect(await write(statusItem('wamid.A', 'sent'), statusItem('wamid.A', 'read'))).toEqual([
      'duplicate',
      'stored',
    ])
    expect(await write(statusItem('wamid.A', 'read', { participant: '15550009999' }))).toEqual(['stored'])
  })

  test('that came before its message is applied when the message comes', async () => {
    await write(statusItem('wamid.A', 'delivered'))
    await write(outbound('wamid.A'))

    expect(await statusOf('wamid.A')).toBe('delivered')
  })

  test('with an unknown word is stored and does not change its message', async () => {
    await write(outbound('wamid.A'), statusItem('wamid.A', 'sent'))
    await write(statusItem('wamid.A', 'warning'))

    expect(await statusOf('wamid.A')).toBe('sent')
    expect(await database.db.selectFrom('message_statuses').selectAll().execute()).toHaveLength(2)
  })

  test('keeps the errors of a failure on the message', async () => {
    await write(outbound('wamid.A'), statusItem('wamid.A', 'failed', { errors: '[{"code":131049}]' }))

    expect((await messages())[0]).toMatchObject({ status: 'failed', error: [{ code: 131049 }] })
  })

  test('ends in the same state whatever the order of arrival, the message included', async () => {
    const words = ['sent', 'failed', 'undelivered', 'delivered', 'read', 'deleted']
    let run = 0
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(words, { minLength: 1 }),
        fc.nat(),
        fc.integer({ min: 1, max: 3 }),
        async (order, seed, batchSize) => {
          const id = `wamid.order${run++}`
          const items = order.map((word) => statusItem(id, word))
          items.splice(seed % (items.length + 1), 0, outbound(id))
          for (let i = 0; i < items.length; i += batchSize) await write(...items.slice(i, i + batchSize))
          const expected = ['read', 'delivered', 'undelivered', 'failed', 'sent'].find((word) =>
            order.includes(word),
          )
          expect(await statusOf(id)).toBe(expected ?? 'accepted')
        },
      ),
      { numRuns: 60 },
    )
  })

  test('of a group moves the message to the lowest rank among its participants, in every order', async () => {
    const parts = [
      ['A', 'read'],
      ['B', 'sent'],
      ['B', 'delivered'],
      ['', 'sent'],
    ] as const
    for (const [index, order] of permutations([0, 1, 2, 3]).entries()) {
      const id = `wamid.group${index}`
      await write(outbound(id))
      for (const i of order) await write(statusItem(id, parts[i]![1], { participant: parts[i]![0] }))
      expect(await statusOf(id)).toBe('delivered')
    }
  })

  test('is applied when two writers store it and its message at the same instant, in every one of 100 races', async () => {
    const ids = Array.from({ length: 100 }, (_, i) => `wamid.race${i}`)

    await Promise.all(ids.flatMap((id) => [write(outbound(id)), write(statusItem(id, 'delivered'))]))

    const statuses = await Promise.all(ids.map(statusOf))
    expect(new Set(statuses)).toEqual(new Set(['delivered']))
  })
})

describe('every other event', () => {
  test('is kept once in webhook_events, whole', async () => {
    const item = () => otherItem({ event: 'APPROVED' })

    expect(await write(item(), item())).toEqual(['stored', 'duplicate'])
    expect(await write(item())).toEqual(['duplicate'])

    const [row] = await database.db.selectFrom('webhook_events').selectAll().execute()
    expect(row).toMatchObject({ payload: { event: 'APPROVED' }, reason: null })
    expect(row?.raw.toString()).toBe('{"event":"APPROVED"}')
  })

  test('that is parked keeps its reason', async () => {
    const item = otherItem({ strange: true }, { kind: 'parked', reason: 'no id' })

    expect(await write(item)).toEqual(['parked'])
    expect(await database.db.selectFrom('webhook_events').selectAll().execute()).toMatchObject([
      { reason: 'no id' },
    ])
  })
})

test('adds its outcomes to the totals in the same transaction', async () => {
  await write(
    messageItem('wamid.A'),
    messageItem('wamid.A'),
    otherItem({ a: 1 }, { kind: 'parked', reason: 'x' }),
  )
  await write(messageItem('wamid.A'), messageItem('wamid.B', {}, {}))

  expect(await readCounts(database.db)).toEqual({
    stored: 2,
    duplicates_database: 2,
    duplicates_queue: 0,
    merged: 0,
    parked: 1,
  })
})

test('announces every new message and every changed status', async () => {
  await write(outbound('wamid.A'), statusItem('wamid.A', 'sent'))

  const changes = await database.db.selectFrom('changes').select('kind').orderBy('id').execute()
  expect(changes.map((row) => row.kind)).toEqual(['message.created', 'message.status'])
})

function outbound(id: string): StoreItem {
  return messageItem(id, { direction: 'outbound', source: 'echo', status: 'accepted' })
}

function rotated<T>(list: T[], by: number): T[] {
  const start = by % list.length
  return [...list.slice(start), ...list.slice(0, start)]
}

function permutations(list: number[]): number[][] {
  if (list.length <= 1) return [list]
  return list.flatMap((item) =>
    permutations(list.filter((other) => other !== item)).map((rest) => [item, ...rest]),
  )
}
