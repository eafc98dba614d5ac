/**
 * The links under which a provider fetches an upload (providers/twilio/media-link.ts). A link alone gives access to the
 * file: any other address is answered 404, and headers tell a browser to save the file and to run nothing.
 */
import { type Request, type Response, Router } from 'express'
import type { Kysely } from 'kysely'
import type { Upload } from '../core/outbound.ts'
import { UPLOAD_LINK_PATH } from '../core/upload.ts'
import { isUnavailable } from '../db/errors.ts'
import { findUpload } from '../db/outbox/uploads.ts'
import type { Database } from '../db/schema.ts'
import type { Provider } from '../providers/provider.ts'
import { ProblemError } from './problem.ts'

export type MediaLinkDeps = {
  db: Kysely<Database>
  uploadFolder: string
  /** Each knows its own links. */
  providers: readonly Pick<Provider, 'isUploadLink'>[]
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function createMediaLinks({ db, uploadFolder, providers }: MediaLinkDeps): Router {
  const router = Router()
  router.get(`${UPLOAD_LINK_PATH}/:uploadId/:ticket`, async (req: Request, res: Response) => {
    const { uploadId, ticket } = req.params
    if (typeof uploadId !== 'string' || typeof ticket !== 'string' || !UUID.test(uploadId)) throw nothing()
    if (!providers.some(({ isUploadLink }) => isUploadLink?.({ uploadId, ticket }))) throw nothing()
    const upload = await find(db, uploadId)
    if (upload === undefined) throw nothing()
    await sendFile(res, upload, uploadFolder)
  })
  return router
}

async function find(db: Kysely<Database>, id: string): Promise<Upload | undefined> {
  try {
    return await findUpload(db, id)
  } catch (cause) {
    if (!isUnavailable(cause)) throw cause
    const detail = 'The database does not answer right now.'
    throw new ProblemError({ status: 503, detail, headers: { 'Retry-After': '5' } }, { cause })
  }
}

/** Express handles ranges, HEAD and clients that disconnect. */
function sendFile(res: Response, { id, mime_type, filename }: Upload, root: string): Promise<void> {
  res.attachment(filename ?? undefined)
  res.set({
    'Content-Type': mime_type,
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "default-src 'none'; sandbox",
    'Cache-Control': 'private, no-store',
    'X-Robots-Tag': 'noindex',
  })
  return new Promise((resolve, reject) => {
    res.sendFile(id, { root, cacheControl: false, lastModified: false, etag: false }, (err) => {
      if (!err || res.headersSent) resolve()
      else reject(notHere(err))
    })
  })
}

/** The row exists and the file does not: the process that received the file has another MEDIA_DIR. */
function notHere(cause: Error): ProblemError {
  const detail = 'There is nothing at this address.'
  return new ProblemError({ status: 404, detail }, { cause })
}

function nothing(): ProblemError {
  return new ProblemError({ status: 404, detail: 'There is nothing at this address.' })
}
