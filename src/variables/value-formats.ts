/**
 * The forms that a variable's value can take. Each takes the text of a variable and gives the value, or an issue whose
 * message completes the sentence "PORT must be …". No message repeats the value: it may be a secret.
 */
import { isIP } from 'node:net'
import { z } from 'zod'

export type HostAndPort = { host: string; port: number }

/** A format of one's own: `mustBe` completes the sentence, `read` gives the value, or undefined where the text is none. */
export function format<T>(mustBe: string, read: (text: string) => T | undefined) {
  return z.string().transform((text, ctx): T => {
    const value = read(text)
    if (value !== undefined) return value
    ctx.issues.push({ code: 'custom', message: mustBe, input: text })
    return z.NEVER
  })
}

export function wholeNumber(min: number, max: number) {
  return format(`a whole number from ${min} to ${max}`, (text) => readWholeNumber(text, min, max))
}

export const port = wholeNumber(0, 65_535)

export const boolean = format('true or false', (text) => BOOLEANS[text.toLowerCase()])
const BOOLEANS: Record<string, boolean | undefined> = { true: true, '1': true, false: false, '0': false }

export function oneOf<const T extends string>(words: readonly T[]) {
  return format(`one of ${words.join(', ')}`, (text) => words.find((word) => word === text.toLowerCase()))
}

/** Any text on one line. */
export const text = format('text without line breaks or other control characters', (value) =>
  hasControlCharacter(value) ? undefined : value,
)

/** An address to listen on. Brackets around an IPv6 address are taken off. */
export const host = format(
  'an address of this machine without a port, such as 127.0.0.1, 0.0.0.0 or ::',
  (value) => {
    const bare = value.replace(/^\[(.*)\]$/, '$1')
    return isIP(bare) > 0 || /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(bare) ? bare : undefined
  },
)

/** The user of HTTP Basic: RFC 7617 forbids the colon, which ends it. */
export const userName = format('text without a colon', (value) =>
  value.includes(':') || hasControlCharacter(value) ? undefined : value,
)

export function url(protocols: readonly string[], example: string) {
  return format(`an address such as ${example}; special characters in a password as %XX`, (value) => {
    const parsed = URL.parse(value)
    return parsed !== null && protocols.includes(parsed.protocol) ? value : undefined
  })
}

/** An http(s) address to which paths are added: no query, no fragment, no credentials; comes out without a final slash. */
export const baseUrl = format(
  'an http or https address without query, fragment or credentials',
  (value): string | undefined => {
    const parsed = URL.parse(value)
    if (parsed === null || !/^https?:$/.test(parsed.protocol)) return undefined
    if (/[?#]/.test(value) || parsed.username !== '' || parsed.password !== '') return undefined
    return parsed.href.replace(/\/+$/, '')
  },
)

/** Comma-separated; spaces around the parts and empty parts do not count. */
export function list(mustBe: string, isItem: (item: string) => boolean) {
  return format(`${mustBe}, several of them separated by commas`, (value) => {
    const items = splitList(value)
    return items.length > 0 && items.every(isItem) ? items : undefined
  })
}

export const secrets = list('a secret without spaces', (item) => /^[^\s\p{Cc}]+$/u.test(item))

/** RFC 6750: the characters that can follow `Authorization: Bearer`. */
const BEARER_TOKEN = /^[A-Za-z0-9._~+/-]+=*$/
export const bearerToken = format('a token of letters, digits and . _ ~ + / - =', (value) =>
  BEARER_TOKEN.test(value) ? value : undefined,
)
export const bearerTokens = list('a token of letters, digits and . _ ~ + / - =', (item) =>
  BEARER_TOKEN.test(item),
)

/** `host` or `host:port`, comma-separated; IPv6 addresses in brackets. */
export function hostsAndPorts(defaultPort: number) {
  return format(`host:port, several of them separated by commas`, (value): HostAndPort[] | undefined => {
    const nodes = splitList(value).map((item) => readHostAndPort(item, defaultPort))
    return nodes.length > 0 && nodes.every((node) => node !== undefined) ? nodes : undefined
  })
}

const PROXY_RANGES = ['loopback', 'linklocal', 'uniquelocal']

/** What Express takes as `trust proxy`: a boolean, the number of proxies in front, or their addresses. */
export const trustProxy = format(
  'true, false, the number of proxies in front, or their addresses (10.0.0.0/8, loopback, uniquelocal …)',
  (value): boolean | number | string | undefined => {
    if (/^(?:true|false)$/i.test(value)) return value.toLowerCase() === 'true'
    // No proxy is nobody to trust.
    if (/^\d{1,3}$/.test(value)) return Number(value) > 0 && Number(value)
    const ranges = splitList(value)
    return ranges.length > 0 && ranges.every(isProxyRange) ? ranges.join(',') : undefined
  },
)

export const digits = format('digits only', (value) => (/^\d{1,32}$/.test(value) ? value : undefined))

function readWholeNumber(value: string, min: number, max: number): number | undefined {
  const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
  return number >= min && number <= max ? number : undefined
}

function readHostAndPort(value: string, defaultPort: number): HostAndPort | undefined {
  const parts = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d+))?$/.exec(value)
  const hostPart = parts?.[1] ?? parts?.[2]
  if (hostPart === undefined) return undefined
  const portNumber = parts?.[3] === undefined ? defaultPort : readWholeNumber(parts[3], 1, 65_535)
  return portNumber === undefined ? undefined : { host: hostPart, port: portNumber }
}

function isProxyRange(value: string): boolean {
  if (PROXY_RANGES.includes(value)) return true
  const [address = '', bits, ...rest] = value.split('/')
  const maxBits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1
  if (rest.length > 0 || maxBits < 0) return false
  return bits === undefined || readWholeNumber(bits, 0, maxBits) !== undefined
}

function splitList(value: string): string[] {
  return value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

function hasControlCharacter(value: string): boolean {
  return /\p{Cc}/u.test(value)
}
