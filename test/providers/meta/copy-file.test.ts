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
