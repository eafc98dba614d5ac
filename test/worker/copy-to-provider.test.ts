/** Messages with uploaded files: Meta gets a copy before the message, Twilio fetches the file; each message is sent once. */
import { renameSync, writeFileSync } from 'node:fs'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { SLOTS } from '../../src/core/send-policy.ts'
import { readOpenBreakers } from '../../src/db/outbox/circuit-breaker.ts'
import { claimCopy } from '../../src/db/outbox/claim.ts'
import { createOutboundMessage } from '../../src/db/outbox/create.ts'
import { isMediaLink } from '../../src/providers/twilio/media-link.ts'
import { BACKENDS, testOnce } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { metaError } from '../support/fake-meta.ts'
import { type Behaviour, holding } from '../support/fake-server.ts'
import { holdLock } from '../support/held-lock.ts'
import { orderText, outboundOptions } from '../support/outbound.ts'
import { type Sending, startSending } from '../support/sending.ts'
import { TWILIO_AUTH_TOKEN } from '../support/twilio-webhooks.ts'
import { storeFile } from '../support/uploads.ts'

describe.each(BACKENDS)('on %s', (backend) => {
  const once = testOnce(backend)
  let sending: Sending

  beforeAll(async () => {
    sending = await startSending(backend)
  })
  beforeEach(() => sending.reset())

  async function orderFile(uploadId: string, { phone = '15551230001', provider = 'meta' as const } = {}) {
    const outcome = await createOutboundMessage(
      sending.db,
      { type: 'document', media: { upload_id: uploadId }, to: { phone }, provider },
      outboundOptions(),
    )
    if (outcome.kind !== 'created') throw new Error(JSON.stringify(outcome))
    await sending.producer.notifySends([outcome.message_id])
    return outcome.message_id
  }
  const documents = () =>
    sending.meta.sent().flatMap(({ type, document }) => (type === 'document' ? [document] : []))

  once('Meta gets one copy for many messages, then each message with the id of the copy', async () => {
    const { id } = await storeFile(sending, '%PDF the bill')
    sending.startWorker()

    const first = await orderFile(id)
    const row = await sending.hasStatus(first, 'accepted')
    for (const phone of ['15551230002', '15551230003'])
      await sending.hasStatus(await orderFile(id, { phone }), 'accepted')

    expect(row.wa_message_id).toBe(sending.meta.idOf(row.callback_id))
    expect(sending.meta.files()).toHaveLength(1)
    expect(sending.meta.files()[0]).toContain('%PDF the bill')
    expect(sending.meta.files()[0]).toContain('filename="bill.pdf"')
    expect(sending.meta.files()[0]).toMatch(/name="messaging_product"\s+whatsapp/)
    expect(documents()).toEqual(Array(3).fill({ id: '116684618142141', filename: 'bill.pdf' }))
  })

  test('a conversation waits for the copy of its oldest message, in order; other conversations do not', async () => {
    const { id } = await storeFile(sending, '%PDF slow')
    const held = holding()
    sending.meta.next(held.behaviour)
    sending.startWorker()
    const first = await orderFile(id)
    await held.reached()
    const second = await orderText(sending.db, 'after the file', { to: { phone: '15551230001' } })
    const elsewhere = await orderText(sending.db, 'elsewhere', { to: { phone: '15551230009' } })
    await sending.producer.notifySends([second, elsewhere])

    await sending.hasStatus(elsewhere, 'accepted')
    expect((await sending.message(first)).status).toBe('queued')
    expect((await sending.message(second)).status).toBe('queued')
    held.release()
    await sending.hasStatus(second, 'accepted')

    expect(sending.meta.sent().map((body) => body.type)).toEqual(['text', 'document', 'text'])
  })

  once(
    'files under way and waiting keep to their slots, and texts do not wait behind their notifications',
    async () => {
      const held = holding()
      sending.meta.always((call, exchange) =>
        call.path.endsWith('/media') ? held.behaviour(call, exchange) : exchange.succeed(),
      )
      sending.startWorker({ sweeps: false, concurrency: 100 })
      const ids: string[] = []
      for (const [i, phone] of ['1', '2', '3', '4', '5', '6'].entries())
        ids.push(await orderFile((await storeFile(sending, `%PDF ${i}`)).id, { phone: `1555123000${phone}` }))
      const { perSender } = SLOTS.copies
      await eventually(() => expect(sending.meta.files()).toHaveLength(perSender.most))
      // Every claim in one of these conversations would wait, and keep its slot.
      const lock = await holdLock(sending.database, 'SELECT FROM conversations FOR UPDATE')

      await sending.producer.notifySends(ids)
      const text = await orderText(sending.db, 'elsewhere', { to: { phone: '15551230009' } })
      await sending.producer.notifySends([text])

      await sending.hasStatus(text, 'accepted')
      expect(sending.meta.files()).toHaveLength(perSender.most)
      await lock.release()
      held.release()
      for (const id of ids) await sending.hasStatus(id, 'accepted')
    },
  )

  test('two conversations with one file at the same moment: Meta gets one copy, and both messages', async () => {
    const { id } = await storeFile(sending, '%PDF for two')
    const held = holding()
    sending.meta.next(held.behaviour)
    sending.startWorker()
    sending.startWorker()
    const ids = await Promise.all(['15551230001', '15551230002'].map((phone) => orderFile(id, { phone })))
    await held.reached()

    // A claim by another worker has to wait meanwhile.
    for (const messageId of ids)
      expect(await claimCopy(sending.db, messageId, ['meta'])).toEqual({
        kind: 'busy',
      })
    held.release()

    for (const messageId of ids) await sending.hasStatus(messageId, 'accepted')
    expect(sending.meta.files()).toHaveLength(1)
    expect(documents()).toEqual(Array(2).fill({ id: '116684618142141', filename: 'bill.pdf' }))
  })

  once('a worker that is alive keeps its claim to a slow copy', async () => {
    const { id } = await storeFile(sending, '%PDF very slow')
    const held = holding()
    sending.meta.next(held.behaviour)
    sending.startWorker({ sweeps: false })
    const messageId = await orderFile(id)
    await held.reached()
    await sending.database.pool.query('UPDATE upload_copies SET copying_until = clock_timestamp()')

    await eventually(async () => {
      const { rows } = await sending.database.pool.query(
        `SELECT copying_until > clock_timestamp() + interval '10 seconds' AS is_kept FROM upload_copies`,
      )
      expect(rows).toEqual([{ is_kept: true }])
    })

    held.release()
    await sending.hasStatus(messageId, 'accepted')
    expect(sending.meta.files()).toHaveLength(1)
  })

  /** Whatever happens to the copy, the message was certainly not sent, and is sent once. */
  once.each<[string, Behaviour, string | number]>([
    ['the connection is cut', (_, exchange) => exchange.cut(), 'UND_ERR_SOCKET'],
    ['the answer is cut off', (_, exchange) => exchange.cutAnswer(), 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'],
    ['no answer comes', () => {}, 'timeout'],
    ['HTTP 500', (_, exchange) => exchange.answer(500, 'oops'), 'http_500'],
    ['code 131000', metaError(131000, { status: 500 }), 131000],
    ['200 without an id', (_, exchange) => exchange.answer(200, {}), 'no_media_id'],
  ])('%s while the file is copied: queued, then sent once', async (_, behaviour, code) => {
    const { id } = await storeFile(sending, '%PDF once')
    sending.meta.next(behaviour)
    sending.startWorker({ copyTimeoutMs: 500, sweeps: false })

    const messageId = await orderFile(id)

    await eventually(async () => {
      const row = await sending.message(messageId)
      expect(row).toMatchObject({ status: 'queued', error: [{ code }], send_attempts: 0 })
    })
    await sending.database.pool.query('UPDATE chat_messages SET not_before = NULL')
    await eventually(async () => {
      await sending.producer.notifySends([messageId])
      expect((await sending.message(messageId)).status).toBe('accepted')
    })
    expect(sending.meta.sent()).toHaveLength(1)
    expect(sending.meta.files()).toHaveLength(2)
  })

  once('a file that Meta refuses: failed with the error of Meta, and nothing was sent', async () => {
    const { id } = await storeFile(sending, 'not a PDF at all')
    sending.meta.next(metaError(100, { message: 'Param file must be a file with one of these types' }))
    sending.startWorker()

    const row = await sending.hasStatus(await orderFile(id), 'failed')

    expect(row.error?.[0]).toMatchObject({ code: 100, message: expect.stringContaining('Param file') })
    expect(sending.meta.sent()).toEqual([])
  })

  once(
    'a token that is refused for a copy opens the breaker, and another token sends the message',
    async () => {
      const { id } = await storeFile(sending, '%PDF with a token')
      sending.meta.always(metaError(190, { status: 401 }))
      const close = sending.startWorker()
      const messageId = await orderFile(id)
      await eventually(async () =>
        expect(await readOpenBreakers(sending.db)).toMatchObject([{ error: { code: 190 } }]),
      )
      expect((await sending.message(messageId)).status).toBe('queued')
      await close()

      sending.meta.always((_, exchange) => exchange.succeed())
      sending.startWorker({ accessToken: 'another-token' })

      await sending.hasStatus(messageId, 'accepted')
      expect(sending.meta.sent()).toHaveLength(1)
    },
  )

  once(
    'a worker without the file: the message waits with an error about it, and is sent when the file is there',
    async () => {
      const { id, file } = await storeFile(sending, '%PDF elsewhere')
      renameSync(file, `${file}.elsewhere`)
      sending.startWorker()
      const messageId = await orderFile(id)
      await eventually(async () =>
        expect((await sending.message(messageId)).error?.[0]?.message).toContain('MEDIA_DIR'),
      )
      expect((await sending.message(messageId)).status).toBe('queued')

      renameSync(`${file}.elsewhere`, file)
      await sending.database.pool.query('UPDATE chat_messages SET not_before = clock_timestamp()')

      await sending.hasStatus(messageId, 'accepted')
    },
  )

  once('half of a file is not copied: the message waits until all of it is there', async () => {
    const { id, file } = await storeFile(sending, '%PDF all of it')
    writeFileSync(file, '%PDF all')
    sending.startWorker()
    const messageId = await orderFile(id)
    await eventually(async () =>
      expect(await sending.message(messageId)).toMatchObject({
        status: 'queued',
        error: [{ code: 'upload_not_here' }],
      }),
    )
    expect(sending.meta.files()).toEqual([])

    writeFileSync(file, '%PDF all of it')
    await sending.database.pool.query('UPDATE chat_messages SET not_before = clock_timestamp()')

    await sending.hasStatus(messageId, 'accepted')
    expect(sending.meta.files()).toHaveLength(1)
  })

  test('a worker that is stopped leaves the copy to another one at once', async () => {
    const { id } = await storeFile(sending, '%PDF handed over')
    const held = holding()
    sending.meta.next(held.behaviour)
    const close = sending.startWorker()
    const messageId = await orderFile(id)
    await held.reached()

    await close()
    expect(sending.copies).toMatchObject([{ result: 'stopped' }])
    expect((await sending.message(messageId)).status).toBe('queued')
    sending.startWorker()

    await sending.hasStatus(messageId, 'accepted')
    expect(sending.meta.sent()).toHaveLength(1)
    held.release()
  })

  once('a copy that Meta has lost: the message fails, and the next one makes a new copy', async () => {
    const { id } = await storeFile(sending, '%PDF forgotten')
    sending.startWorker()
    await sending.hasStatus(await orderFile(id), 'accepted')
    sending.meta.next(metaError(131053, { message: 'Media upload error' }))
    await sending.hasStatus(await orderFile(id), 'failed')

    await sending.hasStatus(await orderFile(id), 'accepted')

    expect(sending.meta.files()).toHaveLength(2)
    expect(documents().map((document) => (document as { id: string }).id)).toEqual([
      '116684618142141',
      '116684618142141',
      '116684618142142',
    ])
  })

  once('a copy that Meta will remove soon is made again', async () => {
    const { id } = await storeFile(sending, '%PDF old')
    sending.startWorker()
    await sending.hasStatus(await orderFile(id), 'accepted')
    await sending.database.pool.query(`UPDATE upload_copies SET copied_at = now() - interval '26 days'`)

    await sending.hasStatus(await orderFile(id), 'accepted')

    expect(sending.meta.files()).toHaveLength(2)
  })

  once('an upload that was removed meanwhile: failed as upload_gone', async () => {
    const { id } = await storeFile(sending, '%PDF gone')
    const messageId = await orderFile(id)
    await sending.database.pool.query('DELETE FROM uploads')
    sending.startWorker()

    expect((await sending.hasStatus(messageId, 'failed')).error?.[0]?.code).toBe('upload_gone')
    expect(sending.meta.calls).toEqual([])
  })

  once('Twilio gets a signed link that expires, and no file', async () => {
    const { id } = await storeFile(sending, '%PDF linked')
    sending.startWorker()

    await sending.hasStatus(await orderFile(id, { provider: 'twilio' as never }), 'accepted')

    const [form] = sending.twilio.sent()
    const [, uploadId = '', ticket = ''] =
      /^https:\/\/hooks\.example\.com\/media\/([^/]+)\/([^/]+)$/.exec(form?.MediaUrl ?? '') ?? []
    expect(uploadId).toBe(id)
    expect(isMediaLink({ uploadId, ticket }, ['another', TWILIO_AUTH_TOKEN])).toBe(true)
    expect(isMediaLink({ uploadId, ticket }, [TWILIO_AUTH_TOKEN], Date.now() + 25 * 3600_000)).toBe(false)
  })
})
