/**
 * Access to the admin routes: HTTP Basic with the one admin user, or a bearer token where a route accepts tokens.
 *
 * Secrets are compared as SHA-256 digests, in constant time, and each with all of them: so the time of an answer
 * reveals neither the length of a secret nor which of several tokens was similar. Wrong passwords are limited per
 * address. Wrong tokens are not: tokens are too long to guess, and a client with an old token must not lock out others
 * at its address.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Request, RequestHandler } from 'express'
import { ipKeyGenerator } from 'express-rate-limit'
import { type Log, ProblemError } from './problem.ts'
import { createWrongPasswordLimit } from './wrong-password-limit.ts'

const REALM = 'wa-ingest'
const BASIC_CHALLENGE = `Basic realm="${REALM}", charset="UTF-8"`
const BEARER_CHALLENGE = `Bearer realm="${REALM}"`

const DEFAULT_MAX_WRONG_PASSWORDS = 10
const DEFAULT_WRONG_PASSWORD_WINDOW_MS = 5 * 60_000

export type AdminAuthDeps = {
  user: string
  password: string
  apiTokens: readonly string[]
  metricsToken?: string | undefined
  log: Pick<Log, 'warn'>
  maxWrongPasswords?: number
  wrongPasswordWindowMs?: number
  /** A monotonic clock in milliseconds. */
  now?: () => number
}

export type AdminAuth = {
  /** For pages: the admin's password only. */
  requireAdmin: RequestHandler
  /** For /api: the password or one of API_TOKENS. */
  requireAdminOrApiToken: RequestHandler
  /** For /metrics: the password or METRICS_TOKEN. */
  requireAdminOrMetricsToken: RequestHandler
  /**
   * For routes that show more with the admin's password or an API token than without. A wrong password counts here too.
   */
  isAdmin(req: Request): boolean
  /** Whether one of the handlers above accepted this request because of its bearer token. */
  cameWithToken(req: Request): boolean
}

type Verdict =
  | { result: 'password' | 'token' | 'missing' | 'wrong' }
  | { result: 'blocked'; retryAfterSeconds: number }

export function createAdminAuth(deps: AdminAuthDeps): AdminAuth {
  if (deps.user === '' || deps.password === '') throw new Error('Set ADMIN_USER and ADMIN_PASSWORD.')
  const checkCredentials = createCredentialCheck(deps)
  const cameWithToken = new WeakSet<Request>()

  function allow(tokens: readonly Buffer[], challenges: string[]): RequestHandler {
    return (req, res, next) => {
      res.set('Cache-Control', 'no-store')
      const verdict = checkCredentials(req, tokens)
      if (verdict.result === 'token') cameWithToken.add(req)
      if (verdict.result === 'password' || verdict.result === 'token') return next()
      if (verdict.result === 'blocked') return next(tooManyWrong(verdict.retryAfterSeconds))
      res.set('WWW-Authenticate', challenges)
      next(new ProblemError({ status: 401, detail: UNAUTHORIZED[verdict.result] }))
    }
  }

  const apiTokens = deps.apiTokens.map(credentialDigest)
  const metricsTokens = deps.metricsToken === undefined ? [] : [credentialDigest(deps.metricsToken)]
  return {
    requireAdmin: allow([], [BASIC_CHALLENGE]),
    requireAdminOrApiToken: allow(apiTokens, [BASIC_CHALLENGE, BEARER_CHALLENGE]),
    requireAdminOrMetricsToken: allow(metricsTokens, [BASIC_CHALLENGE, BEARER_CHALLENGE]),
    isAdmin: (req) => ['password', 'token'].includes(checkCredentials(req, apiTokens).result),
    cameWithToken: (req) => cameWithToken.has(req),
  }
}

/**
 * For the port that strangers reach while the admin has a port of its own: accepts the token only. It never checks a
 * password, so no answer reveals whether a password is right.
 */
export function createTokenGuard(token: string | undefined): RequestHandler {
  const digests = token === undefined ? [] : [credentialDigest(token)]
  return (req, res, next) => {
    res.set('Cache-Control', 'no-store')
    const credentials = parseAuthorization(req.headers.authorization)
    if (credentials?.scheme === 'bearer' && matchesAny(credentials.text, digests)) return next()
    res.set('WWW-Authenticate', BEARER_CHALLENGE)
    next(new ProblemError({ status: 401, detail: TOKEN_ONLY }))
  }
}

const TOKEN_ONLY = 'This needs METRICS_TOKEN as a bearer token; the admin is let in on ADMIN_PORT.'

const UNAUTHORIZED = {
  missing:
    'This needs the admin user and password (ADMIN_USER, ADMIN_PASSWORD) or a token that is valid here.',
  wrong: 'The user, password or token is wrong.',
} as const

function tooManyWrong(retryAfterSeconds: number): ProblemError {
  return new ProblemError({
    status: 429,
    detail: `Too many wrong passwords from this address. Try again in ${retryAfterSeconds} seconds.`,
    headers: { 'Retry-After': String(retryAfterSeconds) },
  })
}

function createCredentialCheck(deps: AdminAuthDeps): (req: Request, tokens: readonly Buffer[]) => Verdict {
  const userAndPassword = credentialDigest(`${deps.user}:${deps.password}`)
  const limit = createWrongPasswordLimit({
    maxWrong: deps.maxWrongPasswords ?? DEFAULT_MAX_WRONG_PASSWORDS,
    windowMs: deps.wrongPasswordWindowMs ?? DEFAULT_WRONG_PASSWORD_WINDOW_MS,
    now: deps.now ?? (() => performance.now()),
  })

  function checkPassword(req: Request, text: string): Verdict {
    const address = addressOf(req)
    const retryAfterSeconds = limit.blockedSeconds(address)
    if (retryAfterSeconds > 0) return { result: 'blocked', retryAfterSeconds }
    if (matchesAny(text, [userAndPassword])) return { result: 'password' }
    if (limit.count(address)) deps.log.warn(lockoutFields(req, address), 'admin login blocked')
    return { result: 'wrong' }
  }

  return (req, tokens) => {
    const credentials = parseAuthorization(req.headers.authorization)
    if (credentials === undefined) return { result: 'missing' }
    if (credentials.scheme === 'basic') return checkPassword(req, credentials.text)
    return { result: matchesAny(credentials.text, tokens) ? 'token' : 'wrong' }
  }
}

/** Behind a proxy that is not trusted, all clients have the proxy's address and share one count: the log says so. */
function lockoutFields(req: Request, address: string): Record<string, unknown> {
  const isUntrustedProxy = req.headers['x-forwarded-for'] !== undefined && req.ip === req.socket.remoteAddress
  return isUntrustedProxy
    ? { address, next_step: 'set TRUST_PROXY, so that clients are told apart by X-Forwarded-For' }
    : { address }
}

/** A /56 of IPv6 counts as one address, because one client can use every address of its network. */
function addressOf(req: Request): string {
  return req.ip === undefined ? 'unknown' : ipKeyGenerator(req.ip)
}

type Credentials = { scheme: 'basic' | 'bearer'; text: string }

function parseAuthorization(header: string | undefined): Credentials | undefined {
  const [, scheme, value] = /^(basic|bearer) +(\S+) *$/i.exec(header ?? '') ?? []
  if (scheme === undefined || value === undefined) return undefined
  return scheme.toLowerCase() === 'basic'
    ? { scheme: 'basic', text: Buffer.from(value, 'base64').toString('utf8') }
    : { scheme: 'bearer', text: value }
}

function credentialDigest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function matchesAny(text: string, digests: readonly Buffer[]): boolean {
  const received = credentialDigest(text)
  let isFound = false
  for (const digest of digests) isFound = timingSafeEqual(received, digest) || isFound
  return isFound
}
