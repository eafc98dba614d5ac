import { beforeAll, describe, expect, test } from 'vitest'
import { resolveConversations } from '../../../src/db/contacts/conversations.ts'
import { at, converse, resolve } from '../../support/contact-batches.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})

test('there is one conversation for each provider, business number and contact', async () => {
  const [contact_id = '', other = ''] = await resolve(database, [
    { user_id: 'US.1' },
    { group_id: 'group-1' },
  ])
  const keys = [
    { provider: 'meta', business_number: '100', contact_id },
    { provider: 'meta', business_number: '200', contact_id },
    { provider: 'twilio', business_number: '100', contact_id },
    { provider: 'meta', business_number: '100', contact_id: other },
  ]

  const ids = await resolveKeys([...keys, ...keys])

  expect(new Set(ids).size).toBe(4)
  expect(ids.slice(4)).toEqual(ids.slice(0, 4))
  expect(await resolveKeys(keys.toReversed())).toEqual(ids.slice(0, 4).toReversed())
})

test('a contact that was merged meanwhile stands for its survivor', async () => {
  const [survivor = '', loser = ''] = await resolve(database, [{ phone: '15550102001' }, { user_id: 'US.2' }])
  await resolve(database, [{ phone: '15550102001', user_id: 'US.2' }])

  const [a, b] = await resolveKeys([
    { provider: 'meta', business_number: '100', contact_id: loser },
    { provider: 'meta', business_number: '100', contact_id: survivor },
  ])

  expect(a).toBe(b)
})

test('a contact that does not exist is an error that says so', async () => {
  const keys = [{ provider: 'meta', business_number: '100', contact_id: '987654321' }]

  await expect(resolveKeys(keys)).rejects.toThrow(/contact 987654321 does not exist/)
})

test('a business number that is too long for an index is stored', async () => {
  const ref = { user_id: 'US.3' }
  const business_number = `\u0000${'9'.repeat(100_000)}`

  const [id] = await converse(database, [ref], { business_number })

  expect(await converse(database, [ref], { business_number })).toEqual([id])
})

describe('when two contacts turn out to be one', () => {
  test('the contact stored first stays and the other one points at it', async () => {
    const [first, second] = await resolve(database, [{ phone: '15550110001' }, { user_id: 'US.10' }])

    const merged = await resolve(database, [{ phone: '15550110001', user_id: 'US.10' }])

    expect(merged).toEqual([first])
    expect(await column(`SELECT merged_into FROM contacts WHERE id = ${second}`)).toEqual([first])
    expect(
      await column(`SELECT DISTINCT contact_id FROM contact_identifiers WHERE value IN
      ('15550110001', 'US.10')`),
    ).toEqual([first])
  })

  test('the later profile wins, and no known field is lost', async () => {
    await resolve(database, [{ phone: '15550111001', name: 'Older name' }], at(1))
    await resolve(database, [{ user_id: 'US.11', name: 'Newer name', username: 'newer' }], at(2))

    const [id] = await resolve(database, [{ phone: '15550111001', user_id: 'US.11' }], at(0))

    const { rows } = await database.pool.query(`SELECT name, username, phone FROM contacts WHERE id = ${id}`)
    expect(rows).toEqual([{ name: 'Newer name', username: 'newer', phone: '15550111001' }])
  })

  test('their messages move to the surviving conversation, and the merge is announced', async () => {
    const [kept = '', lost = ''] = await converse(database, [{ phone: '15550112001' }, { user_id: 'US.12' }])
    const inKept = await addMessage(kept)
    const inLost = await addMessage(lost)

    const [id] = await converse(database, [{ phone: '15550112001', user_id: 'US.12' }])

    expect(id).toBe(kept)
    expect(await column(`SELECT id FROM chat_messages WHERE conversation_id = ${kept} ORDER BY id`)).toEqual([
      inKept,
      inLost,
    ])
    expect(await column(`SELECT merged_into FROM conversations WHERE id = ${lost}`)).toEqual([kept])
    expect(
      await column(`SELECT conversation_id FROM changes WHERE kind = 'conversation.merged'
      AND conversation_id IN (${kept}, ${lost})`),
    ).toEqual([lost])
  })

  test('a conversation that only the merged contact has goes to the survivor', async () => {
    await resolve(database, [{ phone: '15550113001' }])
    const [id = ''] = await converse(database, [{ user_id: 'US.13' }])

    const after = await converse(database, [{ phone: '15550113001', user_id: 'US.13' }])

    expect(after).toEqual([id])
    expect(await column(`SELECT merged_into FROM conversations WHERE id = ${id}`)).toEqual([null])
  })

  test('conversations with different business numbers stay apart', async () => {
    const [one] = await converse(database, [{ phone: '15550114001' }], { business_number: '100' })
    const [two] = await converse(database, [{ user_id: 'US.14' }], { business_number: '200' })
    const both = { phone: '15550114001', user_id: 'US.14' }

    expect(await converse(database, [both], { business_number: '100' })).toEqual([one])
    expect(await converse(database, [both], { business_number: '200' })).toEqual([two])
  })

  test('several merges in a row end in one contact, and every merged row points at it directly', async () => {
    const refs = [{ phone: '15550115001' }, { user_id: 'US.15' }, { parent_user_id: 'US.ENT.15' }]
    const [first = '', second = '', third = ''] = await converse(database, refs)
    await addMessage(third)

    await converse(database, [{ user_id: 'US.15', parent_user_id: 'US.ENT.15' }])
    await converse(database, [{ phone: '15550115001', parent_user_id: 'US.ENT.15' }])

    expect(await converse(database, refs)).toEqual([first, first, first])
    expect(await column(`SELECT merged_into FROM conversations WHERE id IN (${second}, ${third})`)).toEqual([
      first,
      first,
    ])
    expect(
      await column(`SELECT c.merged_into FROM contacts c JOIN conversations v ON v.contact_id = c.id
      WHERE v.id IN (${second}, ${third})`),
    ).toEqual(
      await column(`SELECT contact_id FROM conversations WHERE id = ${first}
      UNION ALL SELECT contact_id FROM conversations WHERE id = ${first}`),
    )
    expect(
      await column(`SELECT count(*)::integer FROM chat_messages WHERE conversation_id = ${first}`),
    ).toEqual([1])
  })

  test("the survivor's conversation is kept, also when it is the younger one", async () => {
    await resolve(database, [{ phone: '15550119001' }])
    const [lost = ''] = await converse(database, [{ user_id: 'US.19' }])
    const [kept = ''] = await converse(database, [{ phone: '15550119001' }])

    expect(await converse(database, [{ phone: '15550119001', user_id: 'US.19' }])).toEqual([kept])
    expect(await column(`SELECT merged_into FROM conversations WHERE id = ${lost}`)).toEqual([kept])
  })

  test('the oldest conversation of the merged contact is kept when the survivor has none', async () => {
    await resolve(database, [{ phone: '15550116001' }])
    const [older = ''] = await converse(database, [{ user_id: 'US.16' }])
    const [newer = ''] = await converse(database, [{ parent_user_id: 'US.ENT.16' }])

    const after = await converse(database, [
      { phone: '15550116001', user_id: 'US.16', parent_user_id: 'US.ENT.16' },
    ])

    expect(after).toEqual([older])
    expect(await column(`SELECT merged_into FROM conversations WHERE id = ${newer}`)).toEqual([older])
  })

  test('an unread message stays unread', async () => {
    const [kept = '', lost = ''] = await converse(database, [{ phone: '15550117001' }, { user_id: 'US.17' }])
    const unread = await addMessage(lost)
    const read = await addMessage(kept)
    await database.pool.query(`UPDATE conversations SET last_read_message_id = ${read} WHERE id = ${kept}`)

    await converse(database, [{ phone: '15550117001', user_id: 'US.17' }])

    expect(
      await column(`SELECT m.id FROM chat_messages m JOIN conversations v ON v.id = m.conversation_id
      WHERE v.id = ${kept} AND m.id > v.last_read_message_id`),
    ).toContain(unread)
  })

  test('messages read in both conversations stay read, and the time of the latest message counts', async () => {
    const [kept = '', lost = ''] = await converse(database, [{ phone: '15550118001' }, { user_id: 'US.18' }])
    const last = [await addMessage(kept), await addMessage(lost)]
    for (const [index, id] of [kept, lost].entries())
      await database.pool.query(
        'UPDATE conversations SET last_read_message_id = $1, last_message_at = $2 WHERE id = $3',
        [last[index], at(index), id],
      )

    await converse(database, [{ phone: '15550118001', user_id: 'US.18' }])

    const { rows } = await database.pool.query(
      `SELECT last_read_message_id, last_message_at FROM conversations WHERE id = ${kept}`,
    )
    expect(rows).toEqual([{ last_read_message_id: last[1], last_message_at: at(1) }])
  })
})

function resolveKeys(keys: { provider: string; business_number: string; contact_id: string }[]) {
  return database.db.transaction().execute((trx) => resolveConversations(trx, keys))
}

async function addMessage(conversationId: string): Promise<string> {
  const [id] =
    await column(`INSERT INTO chat_messages (conversation_id, direction, provider, source, detail, message_type)
    VALUES (${conversationId}, 'inbound', 'meta', 'webhook', 14, 'text') RETURNING id`)
  return String(id)
}

async function column(query: string): Promise<unknown[]> {
  const { rows } = await database.pool.query<unknown[]>({ text: query, rowMode: 'array' })
  return rows.map((row) => row[0])
}
