import { readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { PROVIDERS, refuseUpload } from '../../../src/providers/index.ts'
import { basicAuth } from '../../support/http.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { createTempDirectory } from '../../support/temp-directory.ts'
import { storeFile } from '../../support/uploads.ts'
import { nowhere, PASSWORD, USER } from '../admin-app.ts'
import { type ApiApp, startApi } from '../api-app.ts'

const folder = createTempDirectory()
const MB = 1024 * 1024
let api: ApiApp
let publicUrl: string | undefined

beforeAll(async () => {
  api = await startApi({
    uploadFolder: folder,
    defaultNumbers: { meta: META_PHONE_NUMBER_ID, twilio: '15550001234' },
    refuseUpload: (provider, upload) => refuseUpload(PROVIDERS, publicUrl)(provider, upload),
  })
})

beforeEach(() => {
  publicUrl = 'https://wa.example.com'
})

const PDF = { 'content-type': 'application/pdf' }
let lastFile = 0
const newContent = () => `%PDF-1.4 file ${++lastFile}`
const upload = (content: string, { query = '', headers = PDF }: { query?: string; headers?: object } = {}) =>
  api.post(`/media${query}`, content, { ...PDF, ...headers })
const order = (media: object, more = {}, key?: string) =>
  api.post(
    '/messages',
    { to: '+15551230001', type: 'document', media, ...more },
    key === undefined ? {} : { 'idempotency-key': key },
  )

describe('POST /api/media', () => {
  test('answers 201 when the file is on disk, under its id', async () => {
    const content = newContent()

    const { status, body } = await upload(content, { query: '?filename=bill.pdf' })

    expect(status).toBe(201)
    expect(body).toMatchObject({
      mime_type: 'application/pdf',
      size_bytes: content.length,
      filename: 'bill.pdf',
    })
    expect(readFileSync(path.join(folder, body.id), 'utf8')).toBe(content)
    const days = (Date.parse(body.expires_at) - Date.parse(body.created_at)) / 86_400_000
    expect(days).toBeCloseTo(30)
  })

  test('the same file again, also ten times at once, is the same upload and one file', async () => {
    const content = newContent()
    const before = readdirSync(folder).length

    const responses = await Promise.all(Array.from({ length: 10 }, () => upload(content)))
    const other = await upload(content, { query: '?filename=other.pdf' })

    expect(responses.map(({ status }) => status).sort()).toEqual([...Array(9).fill(200), 201])
    expect(new Set(responses.map(({ body }) => body.id)).size).toBe(1)
    expect(other.status).toBe(201)
    expect(readdirSync(folder)).toHaveLength(before + 2)
  })

  test('a lost file is replaced when it is uploaded again', async () => {
    const content = newContent()
    const { body } = await upload(content)
    rmSync(path.join(folder, body.id))

    expect(await upload(content)).toMatchObject({ status: 200, body: { id: body.id } })
    expect(readFileSync(path.join(folder, body.id), 'utf8')).toBe(content)
  })

  test.each<[string, string, { query?: string; headers?: object }, number]>([
    ['a type that WhatsApp does not take', 'x', { headers: { 'content-type': 'text/html' } }, 415],
    ['JSON', '{}', { headers: { 'content-type': 'application/json' } }, 415],
    ['no type', 'x', { headers: { 'content-type': '' } }, 415],
    ['a compressed body', 'x', { headers: { 'content-encoding': 'gzip' } }, 415],
    ['an empty file', '', {}, 400],
    ['a name with folders', 'x', { query: `?filename=${encodeURIComponent('../x.pdf')}` }, 400],
    ['a name with folders of Windows', 'x', { query: '?filename=a%5Cb' }, 400],
    ['a name of dots', 'x', { query: '?filename=..' }, 400],
    ['a name with a line break', 'x', { query: '?filename=a%0Ab' }, 400],
    ['a name that turns its direction', 'x', { query: '?filename=a%E2%80%AEfdp.exe' }, 400],
    ['a name that nobody sees', 'x', { query: '?filename=%E2%80%8D' }, 400],
    ['an unknown parameter', 'x', { query: '?name=a' }, 400],
    ['too many bytes', 'x'.repeat(5 * MB + 1), { headers: { 'content-type': 'image/png' } }, 413],
    [
      'too many bytes that nobody announced',
      'x'.repeat(5 * MB + 1),
      { headers: { 'content-type': 'image/png', 'transfer-encoding': 'chunked' } },
      413,
    ],
  ])('%s is refused, and nothing is stored', async (_, content, request, status) => {
    const before = readdirSync(folder)

    // The server does not read the rest and may close the connection before the client reads the answer.
    const response = await upload(content, request).catch((err: NodeJS.ErrnoException) => err)

    if (!(response instanceof Error)) expect(response, response.text).toMatchObject({ status })
    else expect([status, response.code]).toEqual([413, expect.stringMatching(/ECONNRESET|EPIPE/)])
    expect(readdirSync(folder)).toEqual(before)
  })

  test('a page of ours may upload with the password of the admin, a page of another site may not', async () => {
    const admin = basicAuth(USER, PASSWORD)
    const ours = { ...admin, 'sec-fetch-site': 'same-origin' }
    const text = { 'content-type': 'text/plain' }

    expect((await upload(newContent(), { headers: ours })).status).toBe(201)
    expect((await upload(newContent(), { headers: { ...ours, ...text } })).status).toBe(201)
    expect((await upload(newContent(), { headers: admin })).status).toBe(201)
    expect((await upload(newContent(), { headers: { ...admin, ...text } })).status).toBe(403)
    const foreign = { ...admin, origin: 'https://evil.example' }
    expect((await upload(newContent(), { headers: foreign })).status).toBe(403)
  })

  test.each(['family 👨\u200D👩\u200D👧.pdf', 'می\u200Cخواهم.pdf'])('keeps the name %s', async (name) => {
    const { status, body } = await upload(newContent(), { query: `?filename=${encodeURIComponent(name)}` })

    expect([status, body.filename]).toEqual([201, name])
  })

  test('keeps the codec of a voice message, which is part of its type, and no other parameter', async () => {
    const content = newContent()
    const types = [
      'audio/ogg',
      'Audio/Ogg;Codecs="opus"',
      'audio/ogg; charset=binary; codecs=opus',
      'audio/ogg; charset=binary',
    ]

    const uploads = []
    for (const type of types) uploads.push(await upload(content, { headers: { 'content-type': type } }))

    const plain = [201, 'audio/ogg']
    const opus = 'audio/ogg; codecs=opus'
    expect(uploads.map(({ status, body }) => [status, body.mime_type])).toEqual([
      plain,
      [201, opus],
      [200, opus],
      [200, plain[1]],
    ])
    const sent = await order({ upload_id: uploads[1]?.body.id, voice: true }, { type: 'audio' })
    expect(sent.status, sent.text).toBe(201)
    expect(sent.body.media).toMatchObject([{ mime_type: opus }])
  })

  test('leaves no file when its row cannot be stored', async () => {
    const uploadFolder = createTempDirectory()
    const broken = await startApi({ uploadFolder })
    await broken.database.pool.query('ALTER TABLE uploads RENAME TO uploads_away')

    expect((await broken.post('/media', 'x', PDF)).status).toBe(500)

    expect(readdirSync(uploadFolder)).toEqual([])
  })

  test('is 503 while the database is away', async () => {
    const away = await startApi({ uploadFolder: createTempDirectory(), db: nowhere() })

    expect(await away.post('/media', 'x', PDF)).toMatchObject({ status: 503 })
  })
})

describe('a message with an upload', () => {
  test('has the type of the file, and is one message for one key', async () => {
    const { body: file } = await upload(newContent(), { query: '?filename=bill.pdf' })
    const { body: other } = await upload(newContent())

    const first = await order({ upload_id: file.id, caption: 'Your bill' }, {}, 'with-upload')
    const again = await order({ upload_id: file.id, caption: 'Your bill' }, {}, 'with-upload')

    expect(first.status, first.text).toBe(201)
    expect(first.body).toMatchObject({ message_type: 'document', content: 'Your bill', status: 'queued' })
    expect(first.body.media).toMatchObject([{ mime_type: 'application/pdf', filename: 'bill.pdf' }])
    expect(again).toMatchObject({ status: 200, body: { id: first.body.id } })
    expect((await order({ upload_id: other.id, caption: 'Your bill' }, {}, 'with-upload')).status).toBe(422)
  })

  test('moves the end of the upload to 30 days later', async () => {
    const { body: file } = await upload(newContent())
    await api.database.pool.query(
      `UPDATE uploads SET expires_at = now() + interval '1 minute' WHERE id = $1`,
      [file.id],
    )

    await order({ upload_id: file.id })

    const { rows } = await api.database.pool.query(
      `SELECT expires_at > now() + interval '29 days' AS is_long FROM uploads WHERE id = $1`,
      [file.id],
    )
    expect(rows).toEqual([{ is_long: true }])
  })

  test('is refused with a reason if it can never be sent', async () => {
    const { body: file } = await upload(newContent())
    const large = await storeFile({ db: api.database.db, uploadFolder: folder }, 'x'.repeat(16 * MB + 1))
    const twilio = { provider: 'twilio' }
    const nothing = '00000000-0000-4000-8000-000000000000'

    const refusals = [
      await order({ upload_id: nothing }),
      await order({ upload_id: file.id }, { type: 'image' }),
      await order({ upload_id: large.id }, twilio),
    ]
    expect((await order({ upload_id: large.id })).status).toBe(201)
    expect((await order({ upload_id: file.id }, twilio)).status).toBe(201)
    publicUrl = undefined
    refusals.push(await order({ upload_id: file.id }, twilio))

    expect(refusals.map(({ status, body }) => [status, body.reason])).toEqual([
      [422, 'upload_not_found'],
      [422, 'upload_type'],
      [422, 'upload_too_large'],
      [422, 'no_public_url'],
    ])
    expect(refusals[3]?.body.detail).toContain('PUBLIC_URL')
  })

  test('needs exactly one of url, upload_id and id', async () => {
    const { body: file } = await upload(newContent())

    expect((await order({ upload_id: file.id, id: '1' })).status).toBe(400)
    expect((await order({ upload_id: '../../etc/passwd' })).status).toBe(400)
    expect((await order({ caption: 'none' })).status).toBe(400)
  })
})
