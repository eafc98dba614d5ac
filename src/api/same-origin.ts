/**
 * Keeps other websites from acting in the admin's name.
 *
 * A browser adds stored Basic credentials to every request to this origin, even if another site causes the request. So
 * a request that changes something is accepted only if it has one of these, and therefore comes from our own pages or
 * from a program that is no browser:
 *
 * 1. A valid bearer token: a browser never adds one by itself.
 * 2. `Sec-Fetch-Site: same-origin`. Browsers set it on https and on localhost; pages cannot. Any other value is
 *    refused.
 * 3. Without that header (plain http elsewhere, old browsers): an `Origin` whose host is the requested host, or the
 *    host of PUBLIC_URL, because some proxies change Host. The scheme is not compared, because a proxy that ends TLS
 *    hides it.
 * 4. Without both headers (curl, scripts): a request that a page of another site cannot send without a preflight, which
 *    this service never grants (Fetch, "CORS-safelisted method" and "content type"). That is any method but POST, or
 *    JSON as the declared content type. Browsers send Origin with every POST, so rule 4 is not the only protection.
 *
 * A body has to be JSON. Where a route accepts files, rule 4 accepts every content type that needs a preflight.
 * Requests that only read (GET, HEAD, OPTIONS) are always accepted.
 */
import type { Request, RequestHandler } from 'express'
import { hasBody, isDeclaredJson, notJson } from './json-body.ts'
import { ProblemError } from './problem.ts'

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

export type SameOriginDeps = {
  /** Where browsers reach the service, e.g. https://wa.example.com. */
  publicUrl?: string | undefined
  /** Whether this request was authenticated by a bearer token. */
  isExempt: (req: Request) => boolean
  /** Whether the body may be a file. */
  takesFile?: (req: Request) => boolean
}

/** To be mounted after authentication and before everything that changes state. */
export function createSameOriginGuard(deps: SameOriginDeps): RequestHandler {
  const publicHost = deps.publicUrl === undefined ? undefined : new URL(deps.publicUrl).host
  return (req, _res, next) => {
    if (SAFE_METHODS.has(req.method) || deps.isExempt(req)) return next()
    const isFile = deps.takesFile?.(req) === true
    if (hasBody(req) && !isDeclaredJson(req) && !isFile) return next(notJson())
    if (isSameOrigin(req, publicHost, isFile)) return next()
    next(crossSite())
  }
}

function isSameOrigin(req: Request, publicHost: string | undefined, isFile: boolean): boolean {
  const fetchSite = req.get('sec-fetch-site')
  if (fetchSite !== undefined) return fetchSite === 'same-origin'
  const origin = req.get('origin')
  if (origin !== undefined) return isOurHost(origin, req.host, publicHost)
  return req.method !== 'POST' || isDeclaredJson(req) || (isFile && needsPreflight(req))
}

/** Types that a page may send to any site without a preflight (Fetch, "CORS-safelisted request-header"). */
const SAFELISTED = /^\s*(?:application\/x-www-form-urlencoded|multipart\/form-data|text\/plain)\s*(?:;|$)/i

function needsPreflight(req: Request): boolean {
  const type = req.get('content-type')
  return type !== undefined && type !== '' && !SAFELISTED.test(type)
}

function isOurHost(origin: string, askedHost: string | undefined, publicHost: string | undefined): boolean {
  if (!URL.canParse(origin)) return false
  const { protocol, host } = new URL(origin)
  if (host === '') return false
  return host === publicHost || host === normalHost(protocol, askedHost)
}

/** Removes a default port, which some proxies write into Host (`wa.example.com:443`) and which no origin has. */
function normalHost(protocol: string, host: string | undefined): string | undefined {
  const url = `${protocol}//${host}`
  return host !== undefined && URL.canParse(url) ? new URL(url).host : undefined
}

function crossSite(): ProblemError {
  return new ProblemError({
    status: 403,
    detail:
      'This request comes from another site, or does not say that it comes from this one. ' +
      'In a script send Content-Type: application/json without an Origin header, or use a bearer token.',
  })
}
