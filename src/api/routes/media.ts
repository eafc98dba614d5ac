/** Uploading a file, to send it afterwards. */
import type { Request } from 'express'
import { z } from 'zod'
import { MAX_FILENAME_LENGTH } from '../../core/message-limits.ts'
import { maxUploadBytes, UPLOAD_MIME_TYPES, uploadMimeType } from '../../core/upload.ts'
import { sqlStateOf } from '../../db/errors.ts'
import { storeUpload } from '../../db/outbox/uploads.ts'
import type { ApiDeps } from '../api-deps.ts'
import { type ApiRoute, defineRoute } from '../api-route.ts'
import { ProblemError } from '../problem.ts'
import { receiveFile, removeFile, renameFile } from '../receive-file.ts'

const upload = z
  .object({
    id: z.uuid().describe('For `media.upload_id` of a message.'),
    mime_type: z
      .string()
      .describe('In lower case; of its parameters only `codecs` is kept: `audio/ogg; codecs=opus`.'),
    size_bytes: z.int(),
    sha256: z.string().describe('Hex.'),
    filename: z.string().nullable(),
    created_at: z.iso.datetime(),
    expires_at: z.iso
      .datetime()
      .describe(
        'Until then the file can be sent. Every message that uses it moves this time to 30 days later.',
      ),
  })
  .meta({ id: 'Upload', description: 'A file that was uploaded to be sent.' })

/**
 * Never a file name on our disk, but it becomes one on the contact's phone. U+200C and U+200D, which Persian and emoji need, are
 * the only characters of the category "other" in it: the rest are controls, and turn the direction of a name.
 */
const filename = z
  .string()
  .min(1)
  .max(MAX_FILENAME_LENGTH)
  .regex(
    /^(?![.\u200C\u200D]*$)(?:[^/\\\p{C}]|[\u200C\u200D])+$/u,
    'must be a name without folders and control characters',
  )
  .optional()
  .describe("The name of a document on the recipient's phone.")

export function mediaRoutes({ db, uploadFolder }: Pick<ApiDeps, 'db' | 'uploadFolder'>): ApiRoute[] {
  return [
    defineRoute(
      {
        method: 'post',
        path: '/media',
        operationId: 'uploadMedia',
        summary: 'Uploads a file to be sent',
        description:
          'The body is the file itself, and Content-Type its type. After the answer the file is on disk. Repeating is ' +
          'harmless: the same file with the same type and name is the same upload. The parameter `codecs` is part of the type.',
        query: z.strictObject({ filename }),
        file: { contentTypes: UPLOAD_MIME_TYPES },
        answers: {
          200: { description: 'The same file was uploaded before.', body: upload },
          201: { description: 'The file is stored.', body: upload },
        },
        problems: {
          413: 'The file is larger than WhatsApp takes of its type; `max_bytes` says how much that is.',
          415: 'WhatsApp does not take files of this type, or the body is compressed.',
          507: 'There is no room for the file.',
        },
      },
      async ({ query, req }) => {
        const { mime_type, maxBytes } = typeOf(req)
        const file = await receiveFile(req, { folder: uploadFolder, maxBytes })
        const stored = await storeUpload(db, { ...file, mime_type, filename: query.filename ?? null }).catch(
          async (err) => {
            if (isNotStored(err)) await removeFile(uploadFolder, file.id)
            throw err
          },
        )
        // The same upload exists. Its content is equal, and its file may be missing: this one takes its place.
        if (stored.id !== file.id) await renameFile(uploadFolder, file.id, stored.id)
        const body = {
          ...stored,
          created_at: stored.created_at.toISOString(),
          expires_at: stored.expires_at.toISOString(),
        }
        return { status: stored.id === file.id ? 201 : 200, body } as const
      },
    ),
  ]
}

/**
 * Whether the row certainly does not exist. Where the connection broke it may, and then its file has to be there; a file without
 * a row is removed after a day.
 */
function isNotStored(err: unknown): boolean {
  const state = sqlStateOf(err)
  return state !== undefined && !/^(?:08|57P)/.test(state)
}

function typeOf({ headers }: Request): { mime_type: string; maxBytes: number } {
  const mime_type = uploadMimeType(headers['content-type'] ?? '')
  const maxBytes = maxUploadBytes(mime_type)
  const isPlain = (headers['content-encoding'] ?? 'identity') === 'identity'
  if (maxBytes !== undefined && isPlain) return { mime_type, maxBytes }
  throw new ProblemError({
    status: 415,
    detail: `Send the file as it is, with its type as Content-Type: one of ${UPLOAD_MIME_TYPES.join(', ')}.`,
    headers: { Connection: 'close' },
  })
}
