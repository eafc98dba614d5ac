/**
 * Links under which Twilio fetches an uploaded file: at the public address, signed, and good for a day. The key is an auth
 * token, which every process that sends through Twilio or serves its webhooks has; nothing has to be looked up to see that
 * a link is not ours.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { UPLOAD_LINK_PATH } from '../../core/upload.ts'

/** Longer than a message may wait in Twilio's queue. */
const GOOD_FOR_SECONDS = 24 * 60 * 60

/** Below PUBLIC_URL. `now`: milliseconds. */
export function mediaLinkPath(uploadId: string, authToken: string, now = Date.now()): string {
  const expiresAt = Math.floor(now / 1000) + GOOD_FOR_SECONDS
  return `${UPLOAD_LINK_PATH}/${uploadId}/${expiresAt}.${sign(uploadId, expiresAt, authToken).toString('base64url')}`
}

/** `ticket`: the last part of the path. True also for a link that was signed with an earlier token of a rotation. */
export function isMediaLink(
  { uploadId, ticket }: { uploadId: string; ticket: string },
  authTokens: readonly string[],
  now = Date.now(),
): boolean {
  const [, seconds = '', signature = ''] = /^([0-9]{1,12})\.([\w-]{43})$/.exec(ticket) ?? []
  const expiresAt = Number(seconds)
  if (signature === '' || expiresAt * 1000 <= now) return false
  const received = Buffer.from(signature, 'base64url')
  // An empty token would let everybody sign.
  return authTokens.some(
    (token) => token !== '' && timingSafeEqual(received, sign(uploadId, expiresAt, token)),
  )
}

/** The words in front keep a signature of ours from being one of Twilio's. */
function sign(uploadId: string, expiresAt: number, authToken: string): Buffer {
  return createHmac('sha256', authToken).update(`wa-ingest media ${uploadId} ${expiresAt}`).digest()
}
