import { beforeEach, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { identifyMessage } from '../../../src/db/ingest/merge-messages.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { type Claim, claimNext } from '../../../src/db/outbox/claim.ts'
import { recordSendResult } from '../../../src/db/outbox/record-result.ts'
import { numberRule, PROVIDERS } from '../../../src/providers/index.ts'
import { eventually } from '../../support/eventually.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { META_CUSTOMER_PHONE, META_PHONE_NUMBER_ID, wamid } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const write = (...items: StoreItem[]) =>
  writeBatch(database.db, items, { choosesNumber: numberRule(PROVIDERS) })
const messages = () => database.db.selectFrom('chat_messages').selectAll().orderBy('id').execute()
const message = async (id: string) => (await messages()).find((row) => row.id === id)
const quarantine = () =>
  database.db.selectFrom('chat_messages_duplicates').selectAll().orderBy('id').execute()
const changes = () =>
  database.db.selectFrom('changes').select(['kind', 'message_id', 'merged_into']).orderBy('id').execute()
const identify = (message_id: string, wa_message_id: string) =>
  identifyMessage(database.db, { message_id, wa_message_id })

/** An outbound message as an echo, a back-fill or another process reports it. */
const echo = (id: string, fact: Partial<MessageFact> = {}) =>
  messageItem(id, {
    source: 'echo',
    direction: 'outbound',
    business_number: META_PHONE_NUMBER_ID,
    contact: { phone: META_CUSTOMER_PHONE },
    status: 'sent',
    ...fact,
  })
const status = (id: string, word: string, callback_id?: string, business_number = META_PHONE_NUMBER_ID) =>
  statusItem(id, word, { business_number, ...(callback_id === undefined ? {} : { callback_id }) })

/** Repeats the claim while the rate limit of the number is used up. */
function claim(messageId: string): Promise<Claim> {
  return eventually(async () => {
    const outcome = await claimNext(database.db, messageId)
    if (outcome.kind !== 'claimed') throw new Error(`not claimed: ${outcome.kind}`)
    return outcome.claim
  })
}

describe("the provider's id of an outbound message", () => {
  test('is set once, and repeating it announces nothing', async () => {
    const id = await orderText(database.db)

    expect(await identify(id, 'wamid.A')).toBe('identified')
    const noted = await changes()
    expect(await identify(id, 'wamid.A')).toBe('known')

    expect(await message(id)).toMatchObject({ wa_message_id: 'wamid.A', status: 'accepted', error: null })
    expect(await changes()).toEqual(noted)
  })

  test('is not replaced by another one', async () => {
    const id = await orderText(database.db)
    await identify(id, 'wamid.A')

    expect(await identify(id, 'wamid.B')).toBe('other')
    expect((await message(id))?.wa_message_id).toBe('wamid.A')
  })

  test('is set only on a message that exists and was sent through the API', async () => {
    await write(echo('wamid.A'))
    const [stored] = await messages()

    expect(await identify('999', 'wamid.B')).toBe('gone')
    expect(await identify(String(stored?.id), 'wamid.B')).toBe('gone')
  })
})

describe('two rows of one message', () => {
  test('are merged into the row from the API; the other one goes whole to quarantine, and both are announced', async () => {
    const id = await orderText(database.db, 'Hello')
    await write(
      echo('wamid.A', { content: 'Hello', sent_at: new Date('2026-06-01T12:00:05Z') }),
      status('wamid.A', 'delivered'),
    )
    const lost = (await messages()).find((row) => row.id !== id)

    expect(await identify(id, 'wamid.A')).toBe('merged')

    expect(await messages()).toHaveLength(1)
    expect(await message(id)).toMatchObject({
      wa_message_id: 'wamid.A',
      status: 'delivered',
      source: 'api',
      sent_at: new Date('2026-06-01T12:00:05Z'),
      payload: { id: 'wamid.A', type: 'text' },
    })
    expect(await quarantine()).toMatchObject([
      {
        original_id: lost?.id,
        kept_id: id,
        wa_message_id: 'wamid.A',
        row: { wa_message_id: 'wamid.A', source: 'echo', status: 'delivered' },
      },
    ])
    expect(await changes()).toContainEqual({ kind: 'message.merged', message_id: lost?.id, merged_into: id })
  })

  test('are merged also when the other one is being inserted at that moment', async () => {
    const id = await orderText(database.db)
    const { conversation_id } = (await message(id)) ?? {}
    const other = await database.pool.connect()
    await other.query('BEGIN')
    await other.query(
      `INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type, status)
       VALUES ($1, 'outbound', 'meta', 'wamid.A', 'echo', 13, 'text', 'sent')`,
      [conversation_id],
    )

    const identified = identify(id, 'wamid.A')
    await eventually(async () => {
      const { rows } = await database.pool.query(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      )
      expect(rows).toHaveLength(1)
    })
    await other.query('COMMIT')
    other.release()

    expect(await identified).toBe('merged')
    expect(await messages()).toMatchObject([{ id, wa_message_id: 'wamid.A', status: 'sent' }])
  })

  test('have the references of the quarantined row moved to the one that stays', async () => {
    const id = await orderText(database.db)
    await write(echo('wamid.A'))
    const lost = (await messages()).find((row) => row.id !== id)
    await database.pool.query(
      'CREATE TABLE notes (message_id bigint NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE, note text)',
    )
    await database.pool.query('INSERT INTO notes VALUES ($1, $2)', [lost?.id, 'call back'])

    expect(await identify(id, 'wamid.A')).toBe('merged')

    expect((await database.pool.query('SELECT * FROM notes')).rows).toEqual([
      { message_id: id, note: 'call back' },
    ])
  })

  test.each<[string, StoreItem]>([
    ['of another number of ours', echo('wamid.A', { business_number: '999' })],
    ['that somebody sent to us', echo('wamid.A', { direction: 'inbound', source: 'webhook' })],
  ])('are two when the other one is a message %s', async (_, item) => {
    const id = await orderText(database.db)
    await write(item)

    expect(await identify(id, 'wamid.A')).toBe('taken')
    expect((await message(id))?.wa_message_id).toBeNull()
    expect(await messages()).toHaveLength(2)
    expect(await quarantine()).toEqual([])
  })

  test('are one message when the provider chose the number, whichever it chose', async () => {
    const id = await orderText(database.db)
    await write(echo('wamid.A', { business_number: '999' }))

    const identification = { message_id: id, wa_message_id: 'wamid.A', isNumberChosen: true }
    expect(await identifyMessage(database.db, identification)).toBe('merged')

    expect(await messages()).toMatchObject([{ id, wa_message_id: 'wamid.A', status: 'sent' }])
  })

  test('are two messages when both were sent through the API: the second one ends as unknown, with the reason', async () => {
    const first = await orderText(database.db, 'one')
    const second = await orderText(database.db, 'two', { to: { phone: '15551230002' } })
    const [a, b] = [await claim(first), await claim(second)]

    const accepted = { kind: 'accepted', wa_message_id: 'wamid.A' } as const
    expect(await recordSendResult(database.db, a, accepted, '')).toBe('accepted')
    expect(await recordSendResult(database.db, b, accepted, '')).toBe('unknown')

    expect(await message(first)).toMatchObject({ wa_message_id: 'wamid.A', status: 'accepted' })
    expect(await message(second)).toMatchObject({
      wa_message_id: null,
      status: 'unknown',
      error: [{ code: 'wa_message_id_taken' }],
    })
  })

  test('stay two when a constraint of the table forbids the move, and the rest of the batch is stored', async () => {
    const id = await orderText(database.db)
    await write(echo('wamid.A'))
    await database.pool.query(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER refuse BEFORE DELETE ON chat_messages FOR EACH ROW EXECUTE FUNCTION refuse()`)
    const callback_id = String((await message(id))?.callback_id)

    await write(status('wamid.A', 'delivered', callback_id), messageItem('wamid.B'))

    const rows = await messages()
    expect(rows.map((row) => row.wa_message_id)).toEqual([null, 'wamid.A', 'wamid.B'])
    expect(rows.map((row) => row.status)).toEqual(['queued', 'delivered', null])
  })
})

describe('a status with our callback_id', () => {
  test.each(['queued', 'sending', 'unknown'])('updates a message that is %s', async (before) => {
    const id = await orderText(database.db)
    await database.db.updateTable('chat_messages').set({ status: before }).where('id', '=', id).execute()
    const callback_id = String((await message(id))?.callback_id)

    await write(status('wamid.A', 'delivered', callback_id))

    expect(await message(id)).toMatchObject({ wa_message_id: 'wamid.A', status: 'delivered' })
  })

  test("marks the message as failed, with the provider's error", async () => {
    const id = await orderText(database.db)
    const { message: sent } = await claim(id)

    await write(
      statusItem('wamid.A', 'failed', {
        business_number: META_PHONE_NUMBER_ID,
        callback_id: sent.callback_id,
        errors: '[{"code":131047,"title":"Re-engagement message"}]',
      }),
    )

    expect(await message(id)).toMatchObject({ status: 'failed', error: [{ code: 131047 }] })
  })

  test('counts for the business number of the message only', async () => {
    const id = await orderText(database.db)
    const callback_id = String((await message(id))?.callback_id)

    await write(status('wamid.A', 'delivered', callback_id, '999'))

    expect(await message(id)).toMatchObject({ wa_message_id: null, status: 'queued' })
  })

  test('of its provider counts for a messaging service, whichever number it chose', async () => {
    const id = await orderText(
      database.db,
      'Hello',
      { provider: 'twilio' },
      { defaultNumbers: { twilio: `MG${'0'.repeat(32)}` } },
    )
    const callback_id = String((await message(id))?.callback_id)
    const told = { business_number: '15550009999', callback_id }

    await write(statusItem('wamid.A', 'delivered', told))
    expect(await message(id)).toMatchObject({ wa_message_id: null, status: 'queued' })
    await write(statusItem('SM1', 'delivered', { provider: 'twilio', ...told }))

    expect(await message(id)).toMatchObject({ wa_message_id: 'SM1', status: 'delivered' })
  })
})

describe('a message that Meta refused, and that a status says it has sent', () => {
  const REFUSAL = { kind: 'failed', error: { code: 131026, message: 'refused' } } as const

  test.each<[string, readonly string[]]>([
    ['sent', ['echo', 'sent']],
    ['failed', ['sent', 'failed']],
  ])('is %s, in every order', async (expected, words) => {
    const orders = permutations(['refusal', ...words])
    const ends = await Promise.all(
      orders.map(async (order, round) => {
        const phone = `1555123${1000 + round}`
        const id = await orderText(database.db, `round ${round}`, { to: { phone } })
        const claimed = await claim(id)
        const waMessageId = wamid()
        for (const told of order) {
          if (told === 'refusal') await recordSendResult(database.db, claimed, REFUSAL, '')
          else if (told === 'echo') await write(echo(waMessageId, { contact: { phone } }))
          else await write(status(waMessageId, told, claimed.message.callback_id))
        }
        const end = await message(id)
        return [order, end?.status, end?.wa_message_id === waMessageId, end?.error]
      }),
    )

    expect(ends).toEqual(orders.map((order) => [order, expected, true, null]))
  })
})

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((item, at) => permutations(items.toSpliced(at, 1)).map((rest) => [item, ...rest]))
}

describe('response, echo and statuses at the same time', () => {
  test('end in one row with our id and the highest status, in every order', async () => {
    const rounds = await Promise.all(
      Array.from({ length: 25 }, async (_, round) => {
        const id = await orderText(database.db, `round ${round}`, { to: { phone: `1555123${1000 + round}` } })
        const claimed = await claim(id)
        const wa_message_id = wamid()
        const { callback_id } = claimed.message
        const told: (() => Promise<unknown>)[] = [
          () => recordSendResult(database.db, claimed, { kind: 'accepted', wa_message_id }, ''),
          () => write(echo(wa_message_id, { contact: { phone: `1555123${1000 + round}` } })),
          () => write(echo(wa_message_id, { contact: { phone: `1555123${1000 + round}` }, callback_id })),
          () => write(status(wa_message_id, 'sent', callback_id)),
          () => write(status(wa_message_id, 'delivered', callback_id), echo(wa_message_id)),
          () => write(status(wa_message_id, 'read')),
        ]
        await Promise.all(shuffled(told).map((tell) => tell()))
        return { id, wa_message_id }
      }),
    )

    expect(
      (await messages()).map(({ id, wa_message_id, status }) => ({ id, wa_message_id, status })),
    ).toEqual(
      rounds.map((round) => ({ ...round, status: 'read' })).sort((a, b) => Number(a.id) - Number(b.id)),
    )
    const kept = new Set(rounds.map(({ id }) => id))
    expect((await quarantine()).filter((row) => !kept.has(row.kept_id))).toEqual([])
  })
})

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item)
}
