import { expect, test } from 'vitest'
import { canBeSentAs, maxUploadBytes, UPLOAD_LINK_PATH, UPLOAD_MIME_TYPES } from '../../src/core/upload.ts'

const KB = 1024
const MB = 1024 * KB

/** Meta's table of supported media: types, and the greatest size of each. */
const TYPES = {
  image: ['image/jpeg', 'image/png'],
  sticker: ['image/webp'],
  audio: ['audio/aac', 'audio/amr', 'audio/mpeg', 'audio/mp4', 'audio/ogg'],
  video: ['video/3gpp', 'video/mp4'],
  document: [
    'text/plain',
    'application/pdf',
    'application/msword',
    'application/vnd.ms-excel',
    'application/vnd.ms-powerpoint',
    'application/vnd.openxmlformats-officedocument.presentationml.presentation',
    'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
    'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  ],
} as const
const MAX_BYTES = { image: 5 * MB, sticker: 500 * KB, audio: 16 * MB, video: 16 * MB, document: 100 * MB }

const ALL = Object.keys(TYPES) as (keyof typeof TYPES)[]

test.each(ALL.flatMap((type) => TYPES[type].map((mimeType) => [mimeType, type] as const)))(
  '%s goes as %s or as a document, within the size of its type',
  (mimeType, type) => {
    expect(ALL.filter((other) => canBeSentAs(mimeType, other))).toEqual([...new Set([type, 'document'])])
    expect(maxUploadBytes(mimeType)).toBe(MAX_BYTES[type])
  },
)

test('these types and no others can be uploaded', () => {
  expect([...UPLOAD_MIME_TYPES].sort()).toEqual(Object.values(TYPES).flat().sort())
  for (const other of ['image/gif', 'image', 'IMAGE/JPEG', 'image/jpeg2', '', 'constructor'])
    expect([other, maxUploadBytes(other), canBeSentAs(other, 'image')]).toEqual([other, undefined, false])
})

/** Links that providers have got stay good after an upgrade, and proxies let this path through. */
test('uploads are fetched below /media', () => {
  expect(UPLOAD_LINK_PATH).toBe('/media')
})
