import { beforeEach, describe, expect, test } from 'vitest'
import { resolveContacts } from '../../../src/db/contacts/resolve-contacts.ts'
import { createEventStore } from '../../../src/db/ingest/event-store.ts'
import { findMerged, previewSplit } from '../../../src/db/split/merged-contacts.ts'
import { moveBack } from '../../../src/db/split/move-back.ts'
import { splitContact } from '../../../src/db/split/split-contact.ts'
import { messageItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import { PARSER } from '../../support/reprocessing.ts'
import { ANN, BOB, fromBob, mergeInError, messagesByName, say } from '../../support/wrong-merge.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

describe('a contact that is split off', () => {
  test('gets its identifiers, its conversation and its messages back, and those that came since and name its user id', async () => {
    await mergeInError(database)
    await say(database, 'wamid.ann2', { ...ANN }, { day: 101 })
    await say(database, 'wamid.bob3', { user_id: BOB.user_id }, { ...fromBob, day: 102 })
    expect(Object.values(await messagesByName(database))).toHaveLength(1)

    await split('2')

    expect(await messagesByName(database)).toEqual({
      Ann: ['wamid.ann1', 'wamid.ann2'],
      Bob: ['wamid.bob1', 'wamid.bob2', 'wamid.both', 'wamid.bob3'],
    })
    expect(await identifiers('2')).toEqual(['15550002222', 'US.2222'])
    expect(await identifiers('1')).toEqual(['15550001111', 'US.1111'])
  })

  test('is announced: the conversation that is on its own again, and each message that moved', async () => {
    await mergeInError(database)
    const { rows: before } = await database.pool.query('SELECT max(id) AS id FROM changes')

    await split('2')

    const { rows } = await database.pool.query(
      `SELECT kind, c.conversation_id, m.content FROM changes c LEFT JOIN chat_messages m ON m.id = c.message_id
      WHERE c.id > $1 ORDER BY c.id`,
      [before[0].id],
    )
    expect(rows).toEqual([
      { kind: 'conversation.split', conversation_id: '2', content: null },
      ...['wamid.bob1', 'wamid.bob2', 'wamid.both'].map((content) => ({
        kind: 'message.updated',
        conversation_id: '2',
        content,
      })),
    ])
  })

  test('is not merged again by the same facts, and the number is that of the one who uses it', async () => {
    await mergeInError(database)
    await split('2')

    await say(database, 'wamid.both2', { ...BOB, phone: ANN.phone }, { ...fromBob, day: 103 })
    await say(database, 'wamid.ann2', { user_id: ANN.user_id }, { day: 104 })
    await say(database, 'wamid.number', { phone: ANN.phone }, { day: 105 })

    expect(await messagesByName(database)).toEqual({
      Ann: ['wamid.ann1', 'wamid.ann2'],
      Bob: ['wamid.bob1', 'wamid.bob2', 'wamid.both', 'wamid.both2', 'wamid.number'],
    })
  })

  test('is not merged again either where the other one has no user id', async () => {
    await say(database, 'wamid.ann1', { phone: ANN.phone, name: 'Ann' })
    await say(database, 'wamid.bob1', BOB, { ...fromBob, day: 1 })
    await say(database, 'wamid.both', { ...BOB, phone: ANN.phone }, { ...fromBob, day: 100 })
    const [merged] = await findMerged(database.db, '2')
    expect(await previewSplit(database.db, merged!)).toMatchObject({
      isRejoinable: true,
      messages: 1,
      since: 1,
    })
    await split('2')

    await say(database, 'wamid.both2', { ...BOB, phone: ANN.phone }, { ...fromBob, day: 103 })

    expect(await messagesByName(database)).toMatchObject({ Ann: ['wamid.ann1'] })
  })

  test('is merged again by a change of user id, which says that they are one', async () => {
    await mergeInError(database)
    await split('2')
    const change = {
      from: { user_id: ANN.user_id },
      to: { user_id: BOB.user_id },
      changed_at: new Date('2026-06-20T00:00:00Z'),
    }

    await database.db.transaction().execute((trx) => resolveContacts(trx, [], [change]))

    expect(Object.values(await messagesByName(database))).toHaveLength(1)
  })

  test('takes along those that had been merged into it before', async () => {
    await say(database, 'wamid.ann1', ANN)
    await say(database, 'wamid.bob1', BOB, { ...fromBob, day: 1 })
    await say(database, 'wamid.bob2', { user_id: 'US.3333' }, { account: 'waba-3', day: 2 })
    await say(database, 'wamid.bob3', { ...BOB, user_id: 'US.3333' }, { account: 'waba-3', day: 3 })
    await say(database, 'wamid.both', { ...BOB, phone: ANN.phone }, { ...fromBob, day: 100 })

    await split('2')

    expect(await messagesByName(database)).toEqual({
      Ann: ['wamid.ann1'],
      Bob: ['wamid.bob1', 'wamid.bob2', 'wamid.bob3', 'wamid.both'],
    })
    expect(await identifiers('2')).toEqual(['15550002222', 'US.2222', 'US.3333'])
    const { rows } = await database.pool.query('SELECT merged_into FROM contacts ORDER BY id')
    expect(rows.map((row) => row.merged_into)).toEqual([null, null, '2'])
  })

  test('shows its own name, and the other one the name from before the merge', async () => {
    await mergeInError(database)
    const names = async () =>
      (await database.pool.query('SELECT name FROM contacts ORDER BY id')).rows.map(({ name }) => name)
    expect(await names()).toEqual(['Bob', 'Bob'])

    await split('2')

    expect(await names()).toEqual(['Ann', 'Bob'])
  })
})

test('messages that arrive while a contact is split are stored once, in the conversation of their contact', async () => {
  await mergeInError(database)
  const store = createEventStore({ db: database.db })
  const write = async (person: typeof ANN, account: string) => {
    for (let index = 0; index < 40; index += 1) {
      const contact = { user_id: person.user_id, name: person.name }
      const sent_at = new Date(Date.parse('2026-09-20T00:00:00Z') + index)
      const item = messageItem(`wamid.${person.name}${index}`, {
        contact,
        account,
        sent_at,
        content: person.name,
      })
      expect(await store.store(item)).toEqual({ outcome: 'stored' })
    }
  }

  await Promise.all([write(ANN, 'waba-ann'), write(BOB, 'waba-bob'), split('2')])

  const { Ann, Bob } = await messagesByName(database)
  expect([...(Ann ?? []), ...(Bob ?? [])]).toHaveLength(84)
  // What came before the split had a payload without user id: it stays with Ann. After it, nothing goes wrong.
  expect(Bob?.filter((content) => content === 'Ann')).toEqual([])
})

test('nothing is split that is not merged, or whose merge was not recorded', async () => {
  await mergeInError(database)
  expect(await splitContact(database.db, '1')).toBeUndefined()
  await database.pool.query('DELETE FROM contact_merges')

  expect(await splitContact(database.db, '2')).toBeUndefined()
})

async function split(contactId: string): Promise<void> {
  const splitId = await splitContact(database.db, contactId)
  const signal = new AbortController().signal
  const { isDone } = await moveBack(database.db, splitId ?? '', {
    reader: PARSER,
    signal,
    onProgress: () => {},
  })
  expect(isDone).toBe(true)
}

async function identifiers(contactId: string): Promise<string[]> {
  const { rows } = await database.pool.query(
    'SELECT value FROM contact_identifiers WHERE contact_id = $1 ORDER BY kind, value',
    [contactId],
  )
  return rows.map(({ value }) => value)
}
