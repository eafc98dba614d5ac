import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { beforeAll, expect, test } from 'vitest'
import { createApp } from '../../src/api/app.ts'
import { createMediaLinks } from '../../src/api/media-links.ts'
import type { UploadLink } from '../../src/providers/provider.ts'
import { isMediaLink, mediaLinkPath } from '../../src/providers/twilio/media-link.ts'
import { send, serve } from '../support/http.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { storeFile } from '../support/uploads.ts'
import { captureLog } from './captured-log.ts'

const HOUR_MS = 3600_000
const uploadFolder = createTempDirectory()
let database: TestDatabase
let url: string
const { log, lines } = captureLog()

beforeAll(async () => {
  database = await createTestDatabase()
  const isUploadLink = (link: UploadLink) => isMediaLink(link, ['', 'next', 'current'])
  const links = createMediaLinks({
    db: database.db,
    uploadFolder,
    providers: [{}, { isUploadLink }],
  })
  url = await serve(createApp({ routers: [links], log }))
})

const store = (content: string, about = {}) => storeFile({ db: database.db, uploadFolder }, content, about)

test('a link serves the file with its type, to be saved and not to be run', async () => {
  const { id } = await store('%PDF 12345', { filename: 'Rechnung "März".pdf' })

  const response = await send(url + mediaLinkPath(id, 'current'))

  expect(response).toMatchObject({ status: 200, text: '%PDF 12345' })
  expect(response.headers).toMatchObject({
    'content-type': 'application/pdf',
    'content-length': '10',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; sandbox",
    'cache-control': 'private, no-store',
    'content-disposition': expect.stringMatching(/^attachment; filename=.*filename\*=UTF-8''Rechnung%20/),
  })
})

test('HEAD and ranges work, as Twilio and WhatsApp request them', async () => {
  const { id } = await store('0123456789')
  const link = url + mediaLinkPath(id, 'next')

  expect(await send(link, { method: 'HEAD' })).toMatchObject({
    status: 200,
    headers: { 'content-length': '10' },
  })
  expect(await send(link, { headers: { range: 'bytes=2-4' } })).toMatchObject({ status: 206, text: '234' })
})

test('a link with another key, file or day, or with a path, is 404', async () => {
  const { id } = await store('secret')
  const other = await store('other secret')
  const good = mediaLinkPath(id, 'current')
  const [, , , ticket = ''] = good.split('/')
  const [seconds = '', signature = ''] = ticket.split('.')

  for (const path of [
    mediaLinkPath(id, 'former'),
    // With an empty token any client could sign links.
    mediaLinkPath(id, ''),
    mediaLinkPath(id, 'current', Date.now() - 25 * HOUR_MS),
    `/media/${other.id}/${ticket}`,
    `/media/${id}/${Number(seconds) + 1}.${signature}`,
    `/media/${id}/${seconds}.${signature.toLowerCase()}`,
    `/media/${id}/${seconds}.`,
    `/media/${id}/${ticket}/more`,
    `/media/${id}`,
    `/media/..%2f${id}/${ticket}`,
    `/media/${id.toUpperCase()}/${ticket}`,
    mediaLinkPath(randomUUID(), 'current'),
    mediaLinkPath('../../etc/passwd', 'current'),
  ])
    expect(await send(url + path), path).toMatchObject({ status: 404 })
  expect(await send(url + good)).toMatchObject({ status: 200 })
})

test('a removed upload, or one whose file this process does not see, is 404', async () => {
  const gone = await store('gone')
  const unseen = await store('unseen')
  await database.pool.query('DELETE FROM uploads WHERE id = $1', [gone.id])
  rmSync(unseen.file)

  for (const { id } of [gone, unseen])
    expect(await send(url + mediaLinkPath(id, 'current'))).toMatchObject({ status: 404 })
})

test('a link that cannot be served is logged without the part that makes it valid', async () => {
  const unseen = await store('unseen')
  rmSync(unseen.file)
  const link = mediaLinkPath(unseen.id, 'current')

  await send(url + link)

  expect(lines()).toContainEqual(expect.objectContaining({ msg: 'request failed', path: '/media/…' }))
  expect(JSON.stringify(lines())).not.toContain(link.split('/').at(-1))
})
