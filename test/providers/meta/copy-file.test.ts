import { beforeEach, expect, test } from 'vitest'
import { createMetaSender } from '../../../src/providers/meta/send.ts'
import { type FakeMeta, startFakeMeta } from '../../support/fake-meta.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'

const TOKEN = 'EAAG-test-token'

let meta: FakeMeta

beforeEach(async () => {
  meta = await startFakeMeta()
})

const upload = (content: Blob, filename: string) =>
  createMetaSender({ accessToken: TOKEN, graphUrl: meta.graphUrl }).copyFile?.(
    { business_number: META_PHONE_NUMBER_ID, content, filename },
    AbortSignal.timeout(5_000),
  )

test.each(['bill.pdf', 'Rechnung für "Ada" 100 %.pdf'])(
  'a file %j arrives as a form that others read alike',
  async (filename) => {
    const content = new Blob(['%PDF\r\n--wa-ingest\r\n'], { type: 'application/pdf' })

    const result = await upload(content, filename)

    expect(result).toEqual({ kind: 'copied', media_id: expect.any(String) })
    const [call] = meta.calls
    expect(call?.path).toBe(`/v26.0/${META_PHONE_NUMBER_ID}/media`)
    expect(call?.headers.authorization).toBe(`Bearer ${TOKEN}`)
    expect(Number(call?.headers['content-length'])).toBe(Buffer.byteLength(call?.body ?? ''))
    const headers = { 'content-type': String(call?.headers['content-type']) }
    const form = await new Response(call?.body ?? '', { headers }).formData()
    expect([...form.keys()]).toEqual(['messaging_product', 'type', 'file'])
    expect([form.get('messaging_product'), form.get('type')]).toEqual(['whatsapp', 'application/pdf'])
    const file = form.get('file') as File
    expect([file.name, file.type, await file.text()]).toEqual([filename, content.type, await content.text()])
  },
)

test('a redirect is not followed, and the file is given again later', async () => {
  meta.next((_, exchange) => exchange.answer(307, '', { location: `${meta.graphUrl}/elsewhere/media` }))

  const result = await upload(new Blob(['%PDF'], { type: 'application/pdf' }), 'bill.pdf')

  expect(result).toMatchObject({ kind: 'not_sent', reason: 'copy_unconfirmed' })
  expect(meta.calls).toHaveLength(1)
})

test.each<[string, number, unknown, object]>([
  ['too large for something on the way', 413, '<html>', { kind: 'failed', error: { code: 'http_413' } }],
  ['of a type that Meta does not take', 400, 131053, { kind: 'failed', error: { code: 131053 } }],
  ['with a code that is not listed', 403, 999_999, { kind: 'failed', error: { code: 999_999 } }],
  ['with an expired token', 401, 190, { kind: 'stop_sender', error: { code: 190 } }],
  ['for a number that is not there', 400, '100/33', { kind: 'stop_sender', error: { code: 100 } }],
  ['refused by a firewall', 404, '<html>', { kind: 'not_sent', reason: 'refused_on_the_way' }],
  ['too early', 400, 130429, { kind: 'not_sent', reason: 'number_rate' }],
  ['met by an error of the server', 500, 131000, { kind: 'not_sent', reason: 'copy_unconfirmed' }],
])('a file %s, HTTP %i %s, is judged like a message', async (_, status, code, expected) => {
  const [first, error_subcode] = String(code).split('/').map(Number)
  const body = code === '<html>' ? code : { error: { message: 'refused', code: first, error_subcode } }
  meta.next((__, exchange) => exchange.answer(status, body))

  expect(await upload(new Blob(['%PDF'], { type: 'application/pdf' }), 'bill.pdf')).toMatchObject(expected)
})
