/**
 * One HTTP call to a provider's API, never repeated here. A failure says whether the request can have left: only a call that
 * certainly did not leave may be repeated by the caller.
 *
 * Every call opens a new connection. On a reused one the server may close it at the moment our request leaves, and then it
 * is unknown whether the request arrived. Redirects are not followed: a 307 would send the message to a second place.
 */
import { createHash } from 'node:crypto'

export type ProviderRequest = {
  url: string
  method?: 'GET' | 'POST'
  headers?: Record<string, string>
  /** A Blob of a file is read while it is sent. */
  body?: string | Blob | URLSearchParams
  /** Ends the call: the deadline, the end of the process. */
  signal: AbortSignal
  /** Never shown, also where the provider's own words repeat them. */
  secrets: readonly string[]
}

/**
 * - `answered`: with this status, and this body where it was JSON
 * - `not_connected`: no byte of the request has left
 * - `lost`: the request may have arrived, the answer has not
 */
export type ProviderAnswer =
  | { kind: 'answered'; status: number; headers: Headers; body: unknown }
  | { kind: 'not_connected'; code: string; message: string }
  | { kind: 'lost'; code: string; message: string }

/** Longest answer that is read: a page of Twilio's list is about 60 kB. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024

/**
 * Without both, fetch keeps all that it has sent of a body, to send it again after a redirect or a 401.
 * https://fetch.spec.whatwg.org/#http-network-or-cache-fetch
 */
const SENT_ONCE: RequestInit = { window: null, redirect: 'error' }

/** Never throws. */
export async function callProvider(request: ProviderRequest): Promise<ProviderAnswer> {
  const { url, method = 'POST', headers = {}, body, signal, secrets } = request
  try {
    const response = await fetch(url, {
      method,
      headers: { accept: 'application/json', ...headers, connection: 'close' },
      ...(body === undefined ? {} : { body }),
      ...(body instanceof Blob ? SENT_ONCE : { redirect: 'manual' }),
      signal,
    })
    const text = await readText(response)
    const { status, headers: answered } = response
    return { kind: 'answered', status, headers: answered, body: parseJson(hide(text, secrets)) }
  } catch (err) {
    return describeFailure(err, secrets)
  }
}

/** Tells credentials apart without showing them. */
export function credentialDigest(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16)
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Meta quotes a malformed token in its message. */
function hide(text: string, secrets: readonly string[]): string {
  return secrets.reduce(
    (shown, secret) => (secret === '' ? shown : shown.replaceAll(secret, '[hidden]')),
    text,
  )
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Of system calls that come before the first byte. */
const BEFORE_CONNECTED = new Set(['connect', 'getaddrinfo'])
/** The certificate is checked before the request is written; the connecting has a limit of its own in undici. */
const NOT_CONNECTED_CODES = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
])

function describeFailure(err: unknown, secrets: readonly string[]): ProviderAnswer {
  const cause = err instanceof TypeError && err.cause instanceof Error ? err.cause : err
  const code = codeOf(cause)
  const message = hide(cause instanceof Error ? cause.message || code : String(cause), secrets)
  return { kind: isBeforeConnected(cause) ? 'not_connected' : 'lost', code, message }
}

/** Of several addresses, none may have been connected to. */
function isBeforeConnected(cause: unknown): boolean {
  if (cause instanceof AggregateError) return cause.errors.length > 0 && cause.errors.every(isBeforeConnected)
  if (!(cause instanceof Error)) return false
  const syscall = 'syscall' in cause ? String(cause.syscall) : ''
  return BEFORE_CONNECTED.has(syscall) || NOT_CONNECTED_CODES.has(codeOf(cause))
}

/** DNS and sockets have codes, an aborted call has the name of its reason. */
function codeOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unknown'
  if ('code' in cause && typeof cause.code === 'string') return cause.code
  return cause.name === 'TimeoutError' ? 'timeout' : cause.name
}
