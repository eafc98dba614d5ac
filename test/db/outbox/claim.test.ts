import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { type ClaimOutcome, claimCopy, claimNext } from '../../../src/db/outbox/claim.ts'
import { createOutboundMessage } from '../../../src/db/outbox/create.ts'
import { storeCopy } from '../../../src/db/outbox/provider-copies.ts'
import { failExpiredSends, findDueSends } from '../../../src/db/outbox/sweep.ts'
import { storeUpload } from '../../../src/db/outbox/uploads.ts'
import { eventually } from '../../support/eventually.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { type HeldLock, holdLock } from '../../support/held-lock.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText, outboundOptions } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
let phones = 15551230000

beforeAll(async () => {
  database = await createTestDatabase()
  // Enough tokens for every test, and a row whose lock holds up a claim before it changes the message.
  await database.pool.query(
    `INSERT INTO send_buckets (provider, business_number, rate_per_second, tokens, refilled_at)
     VALUES ('meta', $1, 1000, 100, now()), ('meta', 'empty', 0.001, 0, now())`,
    [META_PHONE_NUMBER_ID],
  )
})

const somebody = () => String(++phones)
const order = (phone = somebody(), text?: string, number = META_PHONE_NUMBER_ID) =>
  orderText(database.db, text, { to: { phone } }, { defaultNumbers: { meta: number } })
const claim = (id: string) => claimNext(database.db, id)
const run = (statement: string, ...values: unknown[]) => database.pool.query(statement, values)
const read = async (id: string) => (await run('SELECT * FROM chat_messages WHERE id = $1', id)).rows[0]
const set = (id: string, assignments: string) =>
  run(`UPDATE chat_messages SET ${assignments} WHERE id = $1`, id)
const claimed = (message_id: string) => ({ kind: 'claimed', claim: { message: { message_id } } })

/** Claims while a transaction holds `statement`'s locks; it runs `during` before it ends. */
async function claimDuring(
  id: string,
  statement: string,
  during: (lock: HeldLock) => Promise<unknown> = async () => {},
): Promise<ClaimOutcome> {
  const lock = await holdLock(database, statement)
  const claiming = claim(id)
  await lock.reached()
  await during(lock)
  await lock.release()
  return claiming
}

/** Claims while `during` runs between the look at the row and its change. */
const claimMeanwhile = (id: string, during: () => Promise<unknown>) =>
  claimDuring(id, 'SELECT FROM send_buckets FOR UPDATE', during)

describe('a claim', () => {
  test('takes the oldest message of the conversation, whichever one the notification names, and changes no other row', async () => {
    const phone = somebody()
    const elsewhere = await order()
    const first = await order(phone, 'first')
    const second = await order(phone, 'second')
    const others = [await read(elsewhere), await read(second)]

    expect(await claim(second)).toMatchObject(claimed(first))

    expect([await read(elsewhere), await read(second)]).toEqual(others)
    expect((await read(first)).status).toBe('sending')
  })

  test.each(['unknown', 'failed'])('does not wait for a message that is %s', async (status) => {
    const phone = somebody()
    const first = await order(phone)
    const second = await order(phone)
    await set(first, `status = '${status}'`)

    expect(await claim(first)).toMatchObject(claimed(second))
    await set(second, `status = 'accepted', wa_message_id = 'wamid.${status}'`)

    expect(await claim(first)).toEqual({ kind: 'idle' })
  })

  test('of a conversation whose message is being sent waits, and changes nothing', async () => {
    const phone = somebody()
    const first = await order(phone, 'first')
    const second = await order(phone, 'second')
    expect(await claim(second)).toMatchObject({ kind: 'claimed', claim: { attempt: 1 } })
    const before = [await read(first), await read(second)]

    for (const id of [first, second]) expect(await claim(id)).toEqual({ kind: 'waiting' })

    expect([await read(first), await read(second)]).toEqual(before)
    expect(before.map(({ status }) => status)).toEqual(['sending', 'queued'])
  })

  test('waits for a younger message that is being sent: it may have come with a merged conversation', async () => {
    const phone = somebody()
    const first = await order(phone)
    await set(await order(phone), `status = 'sending', sending_since = now()`)

    expect(await claim(first)).toEqual({ kind: 'waiting' })
  })

  test('waits until the back-off of the oldest message is over', async () => {
    const phone = somebody()
    const first = await order(phone)
    const second = await order(phone)
    await set(first, `not_before = clock_timestamp() + interval '1 minute'`)
    for (const id of [first, second]) expect(await claim(id)).toEqual({ kind: 'waiting' })

    // Over while the claim waited for the conversation.
    const outcome = await claimDuring(second, 'SELECT FROM conversations FOR UPDATE', () =>
      set(first, 'not_before = clock_timestamp()'),
    )

    expect(outcome).toMatchObject(claimed(first))
  })

  test('records the attempt, its time and the recipient with the request', async () => {
    const phone = somebody()
    const id = await order(phone, 'Hello')
    const before = await read(id)
    let lookedAt = new Date(0)

    await claimMeanwhile(id, async () => {
      lookedAt = (await run('SELECT clock_timestamp() AS now')).rows[0].now
    })

    const row = await read(id)
    expect(row).toMatchObject({ status: 'sending', send_attempts: 1 })
    expect(row.request).toEqual({ ...before.request, sent_to: { phone } })
    expect(row.updated_at > before.updated_at).toBe(true)
    // Not the time at which the claim began: the sweep counts from the moment after which a worker may call.
    expect(row.sending_since >= lookedAt).toBe(true)
    await set(id, `status = 'queued'`)
    expect(await claim(id)).toMatchObject({ kind: 'claimed', claim: { attempt: 2 } })
  })

  test('of one conversation by many workers at the same time is made once', async () => {
    const phone = somebody()
    const ids = [await order(phone), await order(phone)]

    const outcomes = await Promise.all(Array.from({ length: 8 }, (_, i) => claim(ids[i % 2] ?? '')))

    expect(outcomes.map(({ kind }) => kind).toSorted()).toEqual(['claimed', ...Array(7).fill('waiting')])
    expect((await Promise.all(ids.map(read))).map((row) => row.send_attempts)).toEqual([1, 0])
  })

  test('waits for a transaction that has the conversation locked, and sees the older message that it leaves', async () => {
    const phone = somebody()
    const first = await order(phone)
    const second = await order(phone)
    const { conversation_id } = await read(first)
    await set(first, `status = 'failed'`)

    const outcome = await claimDuring(
      second,
      `UPDATE conversations SET last_message_at = now() WHERE id = ${conversation_id};
       UPDATE chat_messages SET status = 'queued' WHERE id = ${first}`,
    )

    expect(outcome).toMatchObject(claimed(first))
  })

  test('waits for a merge, and holds the order of the conversation that remains', async () => {
    const remaining = await order()
    expect(await claim(remaining)).toMatchObject(claimed(remaining))
    const { conversation_id } = await read(remaining)
    const id = await order()

    const outcome = await claimDuring(
      id,
      `SELECT pg_advisory_xact_lock(${0x77612d63}, 1);
       UPDATE chat_messages SET conversation_id = ${conversation_id} WHERE id = ${id}`,
    )

    expect(outcome).toEqual({ kind: 'waiting' })
  })

  test('that a status of an earlier attempt overtakes claims nothing', async () => {
    const id = await order()
    const { callback_id } = await read(id)

    const outcome = await claimMeanwhile(id, () =>
      writeBatch(database.db, [
        statusItem('wamid.OVERTAKES', 'delivered', { business_number: META_PHONE_NUMBER_ID, callback_id }),
      ]),
    )

    expect(outcome).toEqual({ kind: 'idle' })
    expect(await read(id)).toMatchObject({ status: 'delivered', send_attempts: 0 })
  })

  test('that an id without a status overtakes claims nothing', async () => {
    const id = await order()

    const outcome = await claimMeanwhile(id, () => set(id, `wa_message_id = 'wamid.ALONE'`))

    expect(outcome).toEqual({ kind: 'idle' })
    expect(await read(id)).toMatchObject({ status: 'queued', send_attempts: 0 })
  })

  test('that the sweep overtakes claims nothing', async () => {
    const id = await order()
    await set(id, `created_at = now() - interval '25 hours'`)

    expect(await claimMeanwhile(id, () => failExpiredSends(database.db))).toEqual({ kind: 'idle' })

    expect(await read(id)).toMatchObject({ status: 'failed', send_attempts: 0 })
  })

  test.each([
    ['another application wrote', `source = 'webhook'`],
    ['has an id of the provider', `wa_message_id = 'wamid.QUEUED'`],
  ])('takes no message that %s', async (_, assignment) => {
    const phone = somebody()
    const foreign = await order(phone)
    await set(foreign, assignment)
    const id = await order(phone)

    expect(await claim(foreign)).toMatchObject(claimed(id))
  })

  test('of a message that does not exist finds nothing to do', async () => {
    expect(await claim('999999999')).toEqual({ kind: 'idle' })
  })
})

describe('a claim for a sender that may not send', () => {
  test('changes nothing while the breaker is open; then one message tries, and the others wait', async () => {
    const ids = [await order(undefined, 'a', 'paused'), await order(undefined, 'b', 'paused')]
    const [trial = '', other = ''] = ids
    await run(
      `INSERT INTO send_pauses (provider, business_number, paused_until, failures, since, updated_at)
       VALUES ('meta', 'paused', now() + interval '1 minute', 1, now(), now())`,
    )
    const before = await read(trial)
    expect(await claim(trial)).toEqual({ kind: 'paused' })
    expect(await read(trial)).toEqual(before)

    await run('UPDATE send_pauses SET paused_until = clock_timestamp()')

    expect(await claim(trial)).toMatchObject(claimed(trial))
    expect(await claim(other)).toEqual({ kind: 'paused' })
  })

  test('changes nothing without a token, and says how long to wait', async () => {
    const id = await order(undefined, 'Hello', 'empty')
    const before = await read(id)

    const outcome = await claim(id)

    expect(outcome).toMatchObject({ kind: 'limited', waitMs: expect.any(Number) })
    expect(await read(id)).toEqual(before)
  })

  test('gets its next token in time when the clock was set back since the last one', async () => {
    await run(
      `INSERT INTO send_buckets (provider, business_number, rate_per_second, tokens, refilled_at)
       VALUES ('meta', 'ahead', 1000, 0, now() + interval '1 hour')`,
    )
    const id = await order(undefined, 'Hello', 'ahead')

    expect(await claim(id)).toEqual({ kind: 'limited', waitMs: expect.toSatisfy((ms: number) => ms <= 2) })

    await eventually(async () => expect(await claim(id)).toMatchObject(claimed(id)))
  })
})

describe('a message that answers another one', () => {
  const create = async (request: object) => {
    const outcome = await createOutboundMessage(database.db, request as never, outboundOptions())
    return 'message_id' in outcome ? outcome.message_id : ''
  }
  const react = (to: object, message_id: string) =>
    create({ type: 'reaction', reaction: { message_id, emoji: '👍' }, to })

  test('is sent with the id that the other one had when the answer was created', async () => {
    const [inboundId, contact] = [`wamid.${somebody()}`, { phone: somebody() }]
    await writeBatch(database.db, [
      messageItem(inboundId, { contact, business_number: META_PHONE_NUMBER_ID }),
    ])
    const { rows } = await run('SELECT id FROM chat_messages WHERE wa_message_id = $1', inboundId)
    const target = rows[0].id
    const reply = await orderText(database.db, 'yes', { to: contact, reply_to_message_id: target })
    const reaction = await react(contact, target)
    await set(target, `wa_message_id = 'wamid.RENAMED'`)

    expect(await claim(reply)).toMatchObject({ claim: { message: { reply_to_wa_message_id: inboundId } } })
    await set(reply, `status = 'unknown'`)
    expect(await claim(reaction)).toMatchObject({ claim: { message: { target_wa_message_id: inboundId } } })
  })

  test.each<[string, (to: object, target: string) => Promise<string>]>([
    [
      'reply_to_wa_message_id',
      (to, target) => create({ type: 'text', text: 'yes', reply_to_message_id: target, to }),
    ],
    ['target_wa_message_id', react],
  ])('waits for it, and has its id as %s, also in the row', async (column, answer) => {
    const phone = somebody()
    const target = await order(phone)
    const id = await answer({ phone }, target)
    expect((await read(id))[column]).toBeNull()
    expect(await claim(id)).toMatchObject(claimed(target))
    const sent = `wamid.${somebody()}`
    await set(target, `status = 'accepted', wa_message_id = '${sent}'`)

    expect(await claim(id)).toMatchObject({ claim: { message: { message_id: id, [column]: sent } } })

    expect((await read(id))[column]).toBe(sent)
  })
})

describe('a message that answers one whose outcome is unknown', () => {
  const inDoubt = async () => {
    const phone = somebody()
    const target = await order(phone)
    await set(target, `status = 'unknown'`)
    const answer = await orderText(database.db, 'yes', { to: { phone }, reply_to_message_id: target })
    return { phone, target, answer }
  }
  const isOver = (id: string) => set(id, 'not_before = clock_timestamp()')
  const waiting = { status: 'queued', error: [{ code: 'awaits_reply_target' }], send_attempts: 0 }

  test('waits for its id, says so once, and lets the next one pass', async () => {
    const { phone, target, answer } = await inDoubt()
    const next = await order(phone)
    await run('DELETE FROM changes')

    expect(await claim(answer)).toMatchObject(claimed(next))
    await set(next, `status = 'accepted', wa_message_id = 'wamid.${next}'`)
    expect(await read(answer)).toMatchObject(waiting)
    expect(await claim(answer)).toEqual({ kind: 'idle' })
    await isOver(answer)
    expect(await claim(answer)).toEqual({ kind: 'idle' })
    const { rows } = await run('SELECT FROM changes WHERE message_id = $1', answer)
    expect(rows).toHaveLength(1)

    await set(target, `status = 'sent', wa_message_id = 'wamid.${target}'`)
    await isOver(answer)
    expect(await claim(answer)).toMatchObject({
      claim: { message: { message_id: answer, reply_to_wa_message_id: `wamid.${target}` } },
    })
  })

  test('is due again after a wait of its own, and hides no other message from the sweep', async () => {
    const { phone, answer } = await inDoubt()
    await claim(answer)
    const next = await order(phone)
    await run(`UPDATE chat_messages SET created_at = created_at - interval '1 minute' WHERE id = $1`, next)
    expect(await findDueSends(database.db)).toContain(next)
    await set(next, `status = 'accepted', wa_message_id = 'wamid.${next}'`)
    expect(await findDueSends(database.db)).not.toContain(answer)

    await isOver(answer)

    expect(await findDueSends(database.db)).toContain(answer)
  })

  test.each([
    ['the other one has failed', (target: string) => set(target, `status = 'failed'`)],
    [
      'it has waited for half a day',
      (_: string, answer: string) => set(answer, `created_at = created_at - interval '12 hours'`),
    ],
  ])('fails when %s', async (_, change) => {
    const { target, answer } = await inDoubt()
    await claim(answer)
    await change(target, answer)
    await isOver(answer)

    expect(await claim(answer)).toMatchObject({ kind: 'unsendable', error: { code: 'no_reply_target' } })
  })

  test('waits in the same way when it is a reaction', async () => {
    const { phone, target, answer } = await inDoubt()
    await set(answer, `status = 'failed'`)
    const outcome = await createOutboundMessage(
      database.db,
      { type: 'reaction', reaction: { message_id: target, emoji: '👍' }, to: { phone } },
      outboundOptions(),
    )
    const reaction = 'message_id' in outcome ? outcome.message_id : ''

    expect(await claim(reaction)).toEqual({ kind: 'idle' })
    expect(await read(reaction)).toMatchObject({ ...waiting, error: [{ code: 'awaits_reaction_target' }] })
  })
})

describe('a message that cannot be sent', () => {
  const reactionTo = (target: string) =>
    `request = jsonb_set(request, '{content}', '{"type": "reaction", "reaction": {"message_id": "${target}", "emoji": "👍"}}')`
  const REASONS: Record<string, (id: string, target: string) => Promise<unknown>> = {
    no_recipient: async (id) => {
      const { conversation_id } = await read(id)
      await set(id, `request = request - 'to'`)
      await run(
        `WITH c AS (UPDATE contacts SET phone = NULL
           WHERE id = (SELECT contact_id FROM conversations WHERE id = $1) RETURNING id)
         DELETE FROM contact_identifiers WHERE contact_id IN (SELECT id FROM c)`,
        conversation_id,
      )
    },
    no_reply_target: (id, target) =>
      set(id, `request = request || '{"reply_to_message_id": "${target}"}', reply_to_wa_message_id = NULL`),
    no_reaction_target: (id, target) => set(id, reactionTo(target)),
    upload_gone: (id) =>
      set(
        id,
        `request = jsonb_set(request, '{content}', '{"type": "image", "media": {"upload_id": "${randomUUID()}"}}')`,
      ),
  }

  test.each(Object.entries(REASONS))(
    'fails as %s, and does not hold up the next one',
    async (code, spoil) => {
      const phone = somebody()
      const target = await order(phone)
      // As an adopted table may have it.
      await set(target, `status = 'failed', wa_message_id = ''`)
      const id = await order(phone)
      const next = await order(phone)
      await spoil(id, target)
      const others = [await read(target), await read(next)]

      expect(await claim(next)).toMatchObject({ kind: 'unsendable', message_id: id, error: { code } })

      expect(await read(id)).toMatchObject({ status: 'failed', error: [{ code }], send_attempts: 0 })
      expect([await read(target), await read(next)]).toEqual(others)
      if (code !== 'no_recipient') expect(await claim(next)).toMatchObject(claimed(next))
    },
  )

  test.each(["status = 'delivered'", "wa_message_id = 'wamid.KNOWN'"])(
    'is left alone by a claim that meets a transaction which sets %s, and does not wait for it',
    async (assignment) => {
      const id = await order()
      await REASONS.upload_gone?.(id, '')
      const lock = await holdLock(database, `UPDATE chat_messages SET ${assignment} WHERE id = ${id}`)

      await expect(claim(id)).rejects.toMatchObject({ code: '40001' })
      await lock.release()

      expect(await claim(id)).toEqual({ kind: 'idle' })
      expect((await read(id)).error).toBeNull()
    },
  )
})

describe('a message whose file the provider wants first', () => {
  const COPIES_TO = ['meta']
  const orderFile = async (phone: string) => {
    const upload = { mime_type: 'application/pdf', filename: 'bill.pdf', size_bytes: 4, sha256: somebody() }
    const { id } = await storeUpload(database.db, { id: randomUUID(), ...upload })
    const outcome = await createOutboundMessage(
      database.db,
      { type: 'document', media: { upload_id: id }, to: { phone } },
      outboundOptions(),
    )
    return { id: 'message_id' in outcome ? outcome.message_id : '', uploadId: id }
  }

  test('is copied by one worker while it is queued, then claimed with the id of the copy', async () => {
    const { id, uploadId } = await orderFile(somebody())
    const before = await read(id)
    expect(await claimNext(database.db, id, COPIES_TO)).toEqual({ kind: 'needs_copy' })

    const outcomes = await Promise.all([1, 2, 3].map(() => claimCopy(database.db, id, COPIES_TO)))

    expect(outcomes.map(({ kind }) => kind).toSorted()).toEqual(['busy', 'busy', 'copy'])
    const copying = outcomes.find(({ kind }) => kind === 'copy')
    if (copying?.kind !== 'copy') throw new Error('nobody copies')
    expect(copying.claim).toMatchObject({ attempt: 0, message: { message_id: id, upload: { id: uploadId } } })
    expect(await read(id)).toEqual(before)
    await storeCopy(database.db, copying.claim.message, 'media-1')
    expect(await claimCopy(database.db, id, COPIES_TO)).toEqual({ kind: 'ready' })
    expect(await claimNext(database.db, id, COPIES_TO)).toMatchObject({
      kind: 'claimed',
      claim: { message: { content: { media: { id: 'media-1' } } } },
    })
    expect(await claimCopy(database.db, id, COPIES_TO)).toEqual({ kind: 'waiting' })
  })

  test('is claimed at once for a provider that fetches the file itself', async () => {
    const { id, uploadId } = await orderFile(somebody())

    expect(await claim(id)).toMatchObject({
      claim: { message: { message_id: id, upload: { id: uploadId } } },
    })
  })
})
