/**
 * Meta's webhook signatures: `X-Hub-Signature-256: sha256=<HMAC-SHA256 of the body under the app secret>`.
 *
 * Meta signs the bytes that it sends, with non-ASCII characters and slashes escaped (`\u00e9`, `\/`), which no JSON
 * library writes in the same way. So this runs on the raw body, before anything parses it.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

/** Meta sends lower case. A header that came twice arrives joined with a comma, and fits no more. */
const SIGNATURE = /^sha256=([0-9a-f]{64})$/

/**
 * Whether one of the secrets (several apps, or old and new during a rotation) signed the body. Every secret is tried,
 * with the same work, so that the time does not show which one fitted, or how nearly. Never throws.
 */
export function isSignedByMeta(
  rawBody: Buffer,
  header: string | string[] | undefined,
  appSecrets: readonly string[],
): boolean {
  const hex = typeof header === 'string' ? SIGNATURE.exec(header)?.[1] : undefined
  if (hex === undefined) return false
  const received = Buffer.from(hex)
  let matches = 0
  for (const appSecret of appSecrets) {
    // As text, because a digest as a Buffer of its own takes a third longer.
    const expected = Buffer.from(createHmac('sha256', appSecret).update(rawBody).digest('hex'))
    // An empty secret would let everybody sign.
    matches += timingSafeEqual(received, expected) && appSecret !== '' ? 1 : 0
  }
  return matches > 0
}
