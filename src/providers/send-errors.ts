/**
 * What a provider's error means for the message that was to be sent. Each provider has one table of its codes; the HTTP status
 * decides where the table does not. docs/provider-errors.md is written from the tables.
 */
import type { RetryReason } from '../core/send-policy.ts'

/**
 * - `failed`, `stop_sender`, `unknown`: the result of a send of that name (core/outbound.ts)
 * - `by_status`: what follows from the HTTP status, as for a code that is not listed
 * - any other: certainly not sent, and tried again for this reason
 */
export type Consequence = 'failed' | 'stop_sender' | 'unknown' | 'by_status' | RetryReason

/** By consequence: codes and what they mean. `4`, `200-299`, or `100/33`, which is code 100 with subcode 33. */
export type SendErrorTable = { readonly [Key in Consequence]?: Readonly<Record<string | number, string>> }

/** An answer that refuses, or does not say what became of the message. */
export type ProviderError = {
  status: number
  /** The provider's own. */
  code?: number | undefined
  subcode?: number | undefined
  /** The provider says that the error will pass. */
  isTransient?: boolean | undefined
  /** Whether the provider wrote the answer, and not a proxy or firewall on the way to it. */
  isFromProvider: boolean
}

export type Verdict =
  | { kind: 'failed' | 'stop_sender' | 'unknown' }
  | { kind: 'not_sent'; reason: RetryReason }

export type SendErrorReader = (error: ProviderError) => Verdict

/** `tooManyRequests`: what HTTP 429 means without a listed code. */
export function createSendErrorReader(table: SendErrorTable, tooManyRequests: RetryReason): SendErrorReader {
  const rules = listRules(table)
  const byCode = new Map(rules.map(({ codes, consequence }) => [codes, consequence]))
  const ranges = rules.flatMap(({ first, last, consequence }) =>
    last === undefined ? [] : [{ first, last, consequence }],
  )

  const find = ({ code, subcode }: ProviderError): Consequence => {
    if (code === undefined) return 'by_status'
    const inRange = ranges.find(({ first, last }) => code >= first && code <= last)
    return byCode.get(`${code}/${subcode}`) ?? byCode.get(String(code)) ?? inRange?.consequence ?? 'by_status'
  }
  return (error) => {
    const consequence = find(error)
    return toVerdict(consequence === 'by_status' ? byStatus(error, tooManyRequests) : consequence)
  }
}

export type SendErrorRule = {
  /** As in the table. */
  codes: string
  first: number
  /** Of a range. */
  last?: number
  consequence: Consequence
  meaning: string
}

export function listRules(table: SendErrorTable): SendErrorRule[] {
  return Object.entries(table).flatMap(([consequence, meanings]) =>
    Object.entries(meanings).map(([codes, meaning]) => {
      const [first = '', last] = codes.split(/(?<=\d)-|\/.*/)
      const range = last ? { last: Number(last) } : {}
      return { codes, first: Number(first), ...range, consequence: consequence as Consequence, meaning }
    }),
  )
}

/**
 * A 4xx says that the request was not taken, any other status does not. 401, 403 and 407 are about the sender only while no
 * code says what else they are about.
 */
function byStatus(
  { status, code, isTransient, isFromProvider }: ProviderError,
  tooManyRequests: RetryReason,
): Exclude<Consequence, 'by_status'> {
  if (status === 429) return tooManyRequests
  if (status < 400 || status >= 500 || status === 408 || isTransient) return 'unknown'
  if (code !== undefined || status === 413) return 'failed'
  if (status === 401 || status === 403 || status === 407) return 'stop_sender'
  return isFromProvider ? 'failed' : 'refused_on_the_way'
}

function toVerdict(consequence: Exclude<Consequence, 'by_status'>): Verdict {
  return consequence === 'failed' || consequence === 'stop_sender' || consequence === 'unknown'
    ? { kind: consequence }
    : { kind: 'not_sent', reason: consequence }
}

/** A whole number, also as text: an empty string and null are none. */
export function readCode(value: unknown): number | undefined {
  const code = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value
  return Number.isSafeInteger(code) ? (code as number) : undefined
}
