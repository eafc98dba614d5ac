/**
 * Twilio's webhook signatures: base64(HMAC-SHA1(auth token, URL + every form field in order of its name)).
 *
 * Accepts what Twilio's own validator accepts (twilio-node 6.2.0, lib/webhooks/webhooks.js): a field that came several
 * times counts each value once, sorted; values are decoded and never trimmed. Where the URL has `bodySHA256` the fields
 * do not count, but the body must have that digest. https://www.twilio.com/docs/usage/webhooks/webhooks-security
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingWebhook } from '../provider.ts'
import { decodeReplacing, parseForm } from './form.ts'
import { requestUrls, type UrlSettings, urlSpellings } from './signed-url.ts'

/** The auth tokens of every account and subaccount that calls, and of both sides of a rotation. */
export type SignatureSettings = UrlSettings & { authTokens: readonly string[] }

const SIGNATURE = /^[A-Za-z0-9+/]{27}=$/
/** Twilio sends about 50. Sorting the fields comes before trust: without a limit, 4 MB of `&a` cost a second of CPU. */
const MAX_FIELDS = 10_000

/** Constant time in the tokens; never throws. */
export function isSignedByTwilio(webhook: IncomingWebhook, settings: SignatureSettings): boolean {
  const signature = webhook.headers['x-twilio-signature']
  if (typeof signature !== 'string' || !SIGNATURE.test(signature)) return false
  // An empty token would let everybody sign.
  const authTokens = settings.authTokens.filter((token) => token !== '')
  if (authTokens.length === 0) return false
  const hasBodyHash = webhook.url.includes('bodySHA256')
  const fields = hasBodyHash ? Buffer.alloc(0) : signedFields(webhook.rawBody)
  if (fields === undefined) return false
  for (const url of requestUrls(webhook, settings)) {
    if (hasBodyHash && !isBodyHashOf(url, webhook.rawBody)) continue
    for (const spelling of urlSpellings(url)) {
      if (isSignatureOf(signature, spelling, fields, authTokens)) return true
    }
  }
  return false
}

/** The signature that Twilio would send with a form body; for a JSON body pass no body and a URL with `bodySHA256`. */
export function twilioSignature(authToken: string, url: string, rawBody: Buffer = Buffer.alloc(0)): string {
  return hmac(authToken, url, signedFields(rawBody) ?? Buffer.alloc(0))
}

/** All fields as one text: names sorted, each name in front of each of its values. Undefined where they are too many. */
function signedFields(rawBody: Buffer): Buffer | undefined {
  if (hasMoreFieldsThan(MAX_FIELDS, rawBody)) return undefined
  const values = new Map<string, Set<string>>()
  for (const { name, value } of parseForm(rawBody, decodeReplacing)) {
    values.set(name, (values.get(name) ?? new Set()).add(value))
  }
  const names = [...values.keys()].sort()
  const parts = names.flatMap((name) => [...(values.get(name) ?? [])].sort().map((value) => name + value))
  return Buffer.from(parts.join(''))
}

function hasMoreFieldsThan(limit: number, rawBody: Buffer): boolean {
  let at = -1
  for (let count = 1; count <= limit; count++) {
    at = rawBody.indexOf('&', at + 1)
    if (at === -1) return false
  }
  return true
}

function isBodyHashOf(url: string, rawBody: Buffer): boolean {
  if (!URL.canParse(url)) return false
  const expected = createHash('sha256').update(rawBody).digest('hex')
  return isSameText(new URL(url).searchParams.get('bodySHA256') ?? '', expected)
}

function isSignatureOf(
  signature: string,
  url: string,
  fields: Buffer,
  authTokens: readonly string[],
): boolean {
  return authTokens.some((token) => isSameText(signature, hmac(token, url, fields)))
}

function hmac(authToken: string, url: string, fields: Buffer): string {
  return createHmac('sha1', authToken).update(url, 'utf8').update(fields).digest('base64')
}

function isSameText(received: string, expected: string): boolean {
  const a = Buffer.from(received)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}
