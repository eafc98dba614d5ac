/**
 * Keeps other websites from acting in the admin's name.
 *
 * A browser adds Basic credentials by itself to every request to this origin, also to one that another site caused.
 * So a request that changes something passes only when it provably comes from our own pages or from no browser:
 *
 * 1. A valid bearer token: a browser never adds one by itself.
 * 2. `Sec-Fetch-Site: same-origin`. Browsers set it on https and on localhost; pages cannot. Any other value is refused.
 * 3. Without it (plain http elsewhere, old browsers) the host of `Origin` has to be the host that was asked, or the host
 *    of PUBLIC_URL, for proxies that change Host. The scheme is not compared, because a proxy that ends TLS hides it.
 * 4. With neither (curl, scripts): any request that a foreign page could not cause without a preflight, which this service
 *    never grants (Fetch, "CORS-safelisted method" and "content type"): another method than POST, or JSON as the
 *    declared content type. Browsers send Origin with every POST, so this does not rest on it.
 *
 * A body has to be JSON, but where files are uploaded; there the third rule holds for every type that makes a browser ask
 * beforehand. Requests that read (GET, HEAD, OPTIONS) are free.
 */
import type { Request, RequestHandler } from 'express'
import { hasBody, isDeclaredJson, notJson } from './json-body.ts'
import { ProblemError } from './problem.ts'

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

export type SameOriginDeps = {
  /** Where browsers reach the service, e.g. https://wa.example.com. */
  publicUrl?: string | undefined
  /** Whether this request was let in for a bearer token. */
  isExempt: (req: Request) => boolean
  /** Where the body may be a file. */
  takesFile?: (req: Request) => boolean
}

/** Goes after authentication, before anything that changes state. */
export function createSameOriginGuard(deps: SameOriginDeps): RequestHandler {
  const publicHost = deps.publicUrl === undefined ? undefined : new URL(deps.publicUrl).host
  return (req, _res, next) => {
    if (SAFE_METHODS.has(req.method) || deps.isExempt(req)) return next()
    const isFile = deps.takesFile?.(req) === true
    if (hasBody(req) && !isDeclaredJson(req) && !isFile) return next(notJson())
    if (isOurOwn(req, publicHost, isFile)) return next()
    next(crossSite())
  }
}

function isOurOwn(req: Request, publicHost: string | undefined, isFile: boolean): boolean {
  const fetchSite = req.get('sec-fetch-site')
  if (fetchSite !== undefined) return fetchSite === 'same-origin'
  const origin = req.get('origin')
  if (origin !== undefined) return isOurHost(origin, req.host, publicHost)
  return req.method !== 'POST' || isDeclaredJson(req) || (isFile && needsPreflight(req))
}

/** Types that a page may send to any site without asking it (Fetch, "CORS-safelisted request-header"). */
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

/** Some proxies write the default port into Host (`wa.example.com:443`); an origin never has it. */
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
