/**
 * The URL in Twilio's signature.
 *
 * Twilio signs the whole URL as it was configured, and it spells that URL in more than one way: with and without the port,
 * and with query values that some of its back ends escape differently. Its validator (twilio-node 6.2.0,
 * lib/webhooks/webhooks.js) tries all of these; so does this. Nothing is guessed beyond the spelling: every variant is the
 * same host, path and query.
 */
import { parse as parseQuery, stringify as stringifyQuery } from 'node:querystring'
import type { IncomingWebhook } from '../provider.ts'

export type UrlSettings = {
  /** Origin under which Twilio reaches the service, with the path in front of its routes where a proxy strips one. */
  publicUrl?: string | undefined
  /** Whether `X-Forwarded-Host` comes from our own proxy. */
  trustProxy?: boolean | undefined
}

/** Scheme and user, host, port, rest. */
const URL_PARTS = /^([a-z][a-z0-9+.-]*:\/\/(?:[^/?#]*@)?)(\[[^\]/?#]*\]|[^/?#:]*)(:[^/?#]*)?(.*)$/is

/**
 * The URLs that Twilio may have called for this webhook. With `publicUrl` that is what was configured. Without it only the
 * Host header is known, and not whether a proxy took TLS off: both schemes are tried, the signature decides.
 */
export function requestUrls(webhook: IncomingWebhook, settings: UrlSettings): string[] {
  const target = pathAndQuery(webhook.url)
  return [...new Set(baseUrls(webhook, settings).map((base) => base + target))]
}

/** Every spelling under which the signature of a URL is accepted, the likely ones first. Never throws. */
export function* urlSpellings(url: string): Generator<string> {
  const seen = new Set<string>()
  for (const spelling of allSpellings(url)) {
    if (!seen.has(spelling)) yield spelling
    seen.add(spelling)
  }
}

function* allSpellings(url: string): Generator<string> {
  yield withoutPort(url)
  yield withPort(url)
  if (!URL.canParse(url)) return
  const escaped = new URL(url).toString()
  yield withoutPort(escaped)
  yield withPort(escaped)
  yield withLegacyQuery(withoutPort(escaped))
  yield withLegacyQuery(withPort(escaped))
}

function baseUrls({ headers }: IncomingWebhook, { publicUrl, trustProxy }: UrlSettings): string[] {
  if (publicUrl !== undefined) {
    const [, start = '', host = '', port = '', rest = ''] = URL_PARTS.exec(publicUrl) ?? []
    const origin = start + host + port
    const path = rest.replace(/[?#].*$/s, '').replace(/\/+$/, '')
    return [origin, origin + path]
  }
  const forwarded = trustProxy === true ? firstValue(headers['x-forwarded-host']) : undefined
  const host = forwarded ?? headers.host
  return host === undefined ? [] : [`https://${host}`, `http://${host}`]
}

/** A request may name the whole URL in its first line; a fragment is never part of what Twilio signs. */
function pathAndQuery(url: string): string {
  const target = url.startsWith('/') ? url : (URL_PARTS.exec(url)?.[4] ?? url)
  return target.replace(/#.*$/s, '')
}

/** Proxies append to a list; the first entry is the one nearest to the caller. */
function firstValue(header: string | string[] | undefined): string | undefined {
  const first = (Array.isArray(header) ? header[0] : header)?.split(',')[0]?.trim()
  return first === '' ? undefined : first
}

function withoutPort(url: string): string {
  const [, start, host, , rest] = URL_PARTS.exec(url) ?? []
  return start === undefined ? url : `${start}${host}${rest}`
}

function withPort(url: string): string {
  const [, start, host, port, rest] = URL_PARTS.exec(url) ?? []
  if (start === undefined || port !== undefined) return url
  return `${start}${host}${start.toLowerCase().startsWith('https:') ? ':443' : ':80'}${rest}`
}

/** The query as Node's `querystring` writes it: some back ends sign `%27` where the URL has `'`. */
function withLegacyQuery(url: string): string {
  const start = url.indexOf('?') + 1
  if (start === 0 || start === url.length) return url
  return url.slice(0, start) + stringifyQuery(parseQuery(url.slice(start)))
}
