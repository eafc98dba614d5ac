/** In-doubt sends whose provider keeps a list of messages (Twilio). The same on every queue. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createEventStore } from '../../src/db/ingest/event-store.ts'
import { createReconciliation } from '../../src/worker/reconciliation.ts'
import { BACKENDS } from '../support/backends.ts'
import { orderText, TWILIO_BUSINESS_PHONE } from '../support/outbound.ts'
import { type Sending, startSending } from '../support/sending.ts'

const MINUTE = 60_000

describe('a send whose response was lost', () => {
  let sending: Sending

  beforeAll(async () => {
    sending = await startSending(BACKENDS[0])
  })
  beforeEach(() => sending.reset())

  const order = async (text: string, conversation_id?: string) => {
    const id = await orderText(
      sending.db,
      text,
      conversation_id === undefined ? { provider: 'twilio' } : { conversation_id },
    )
    await sending.producer.notifySends([id])
    return id
  }
  const reconcile = async () => {
    await sending.database.pool.query(
      "UPDATE chat_messages SET sending_since = sending_since - interval '3 minutes', looked_up_at = NULL",
    )
    for (const message of sending.twilio.messages)
      message.date_created = new Date(Date.parse(String(message.date_created)) - 3 * MINUTE).toUTCString()
    const reconciliation = createReconciliation({
      db: sending.db,
      store: createEventStore({ db: sending.db }),
      senders: sending.senders,
    })
    return reconciliation.runOnce(new AbortController().signal)
  }
  const loseAnswer = (
    text: string,
    { isTaken = true, conversation_id }: { isTaken?: boolean; conversation_id?: string } = {},
  ) => {
    sending.twilio.next((call, exchange) => {
      if (isTaken) sending.twilio.take(call)
      exchange.cut()
    })
    return order(text, conversation_id)
  }

  test('is found in its list of messages, with its status', async () => {
    sending.startWorker()
    await sending.hasStatus(await order('Hello'), 'accepted')
    const id = await loseAnswer('Hello')
    await sending.hasStatus(id, 'unknown')
    const [taken] = sending.twilio.messages
    if (taken) taken.status = 'delivered'

    expect(await reconcile()).toBe(1)

    expect(await sending.message(id)).toMatchObject({ wa_message_id: taken?.sid, status: 'delivered' })
    expect(sending.twilio.sent()).toHaveLength(2)
  })

  test('stays unknown when the list has no entry, which does not prove that it was not sent', async () => {
    sending.startWorker()
    const id = await loseAnswer('Hello', { isTaken: false })
    await sending.hasStatus(id, 'unknown')

    expect(await reconcile()).toBe(0)
    expect((await sending.message(id)).status).toBe('unknown')
  })

  test('stays unknown when two entries of the list match', async () => {
    sending.startWorker()
    const id = await loseAnswer('Hello')
    await sending.hasStatus(id, 'unknown')
    const [taken] = sending.twilio.messages
    if (taken) sending.twilio.messages.unshift({ ...taken, sid: `SM${'1'.repeat(32)}` })

    expect(await reconcile()).toBe(0)
    expect((await sending.message(id)).status).toBe('unknown')
  })

  test('stays unknown when a messaging service may have sent the same text from its number', async () => {
    sending.startWorker()
    const viaNumber = await loseAnswer('Hello', { isTaken: false })
    await sending.hasStatus(viaNumber, 'unknown')
    const { rows } = await sending.database.pool.query(
      `INSERT INTO conversations (provider, business_number, contact_id)
       SELECT provider, $1, contact_id FROM conversations RETURNING id`,
      [`MG${'a'.repeat(32)}`],
    )
    const viaService = await loseAnswer('Hello', { conversation_id: rows[0].id })
    await sending.hasStatus(viaService, 'unknown')
    for (const message of sending.twilio.messages) message.from = `whatsapp:+${TWILIO_BUSINESS_PHONE}`

    expect(await reconcile()).toBe(0)
    expect((await sending.messages()).map((row) => row.status)).toEqual(['unknown', 'unknown'])
  })

  test.each(['Hello', ' Hello\n'])(
    'stays unknown when two sends match one entry of the list: %j',
    async (text) => {
      sending.startWorker()
      const first = await loseAnswer(text, { isTaken: false })
      await sending.hasStatus(first, 'unknown')
      const second = await loseAnswer('Hello')
      await sending.hasStatus(second, 'unknown')

      expect(await reconcile()).toBe(0)
      expect((await sending.messages()).map((row) => row.status)).toEqual(['unknown', 'unknown'])
    },
  )
})
