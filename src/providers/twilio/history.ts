/**
 * Twilio's lists of messages and of their files. https://www.twilio.com/docs/messaging/api/message-resource
 *
 * The list is in order of DateSent, newest first, and filters by GMT day. Pages follow one another by `next_page_uri`,
 * which is taken as a path under the configured address and nothing else: the credentials go with it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { ProviderAnswer } from '../call.ts'
import type { HistoryPage, ListedMessage, MessageHistory } from '../message-history.ts'
import { present } from '../present.ts'
import { refusal, unexpected } from './history-errors.ts'
import {
  contentOf,
  isResource,
  isWhatsApp,
  type ListedFile,
  type Resource,
  readListedMessage,
  readResources,
  timeOf,
} from './message-resource.ts'

export type TwilioHistorySettings = { accountSid: string; apiUrl: string }

type Get = (path: string, signal: AbortSignal) => Promise<ProviderAnswer>
type Answered = ProviderAnswer & { kind: 'answered' }

/** A message takes up to 24 kB in JSON (4096 characters, each escaped): a full page stays below the longest answer. */
const PAGE_SIZE = 100
const CALL_TIMEOUT_MS = 30_000
const MAX_TRIES = 4
const FIRST_DELAY_MS = 500
/** A longer wait is reported as an error instead. */
const MAX_DELAY_MS = 60_000
const MEDIA_SID = /^ME[0-9a-fA-F]{32}$/

export function createTwilioHistory(get: Get, settings: TwilioHistorySettings): MessageHistory {
  const { accountSid, apiUrl } = settings
  const messages = `/2010-04-01/Accounts/${accountSid}/Messages`
  const read = async (path: string, signal: AbortSignal): Promise<Answered> => {
    const answer = await getPatiently(get, path, signal)
    const isRefused = answer.kind !== 'answered' || !isFinal(answer) || answer.status === 401
    if (isRefused) throw refusal(answer, settings)
    return answer
  }
  return {
    account: accountSid,
    readPage: async ({ day, cursor }, signal) => {
      const first = `${messages}.json?${new URLSearchParams({ DateSent: day, PageSize: String(PAGE_SIZE) })}`
      const answer = await read(cursor ?? first, signal)
      if (answer.status !== 200) throw refusal(answer, settings)
      return readPage(answer, apiUrl)
    },
    readContent: async (message, signal) =>
      contentOf(message, message.files === 0 ? [] : await readFiles(message, signal)),
  }

  /** A file that Twilio has no more, or does not show, does not keep its message from being stored. */
  async function readFiles({ wa_message_id }: ListedMessage, signal: AbortSignal): Promise<ListedFile[]> {
    const path = `${messages}/${wa_message_id}/Media`
    const { status, body } = await read(`${path}.json?PageSize=${PAGE_SIZE}`, signal)
    const resources = status === 200 ? (readResources(body, 'media_list') ?? []) : []
    return resources.flatMap(({ sid, content_type }) =>
      typeof sid === 'string' && MEDIA_SID.test(sid) && typeof content_type === 'string'
        ? [{ url: `${apiUrl}${path}/${sid}`, content_type }]
        : [],
    )
  }
}

/** Reading can be repeated: a lost answer, a server's error and "too many requests" are waited out for a while. */
async function getPatiently(get: Get, path: string, signal: AbortSignal): Promise<ProviderAnswer> {
  for (let attempt = 1; ; attempt++) {
    const answer = await get(path, AbortSignal.any([signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]))
    if (signal.aborted || attempt === MAX_TRIES || isFinal(answer)) return answer
    const waitMs = Math.max(FIRST_DELAY_MS * 2 ** (attempt - 1), retryAfterMs(answer))
    if (waitMs > MAX_DELAY_MS) return answer
    await delay(waitMs, undefined, { signal }).catch(() => {})
  }
}

/** Whether asking again would only bring the same. */
function isFinal(answer: ProviderAnswer): boolean {
  return answer.kind === 'answered' && answer.status < 500 && ![408, 429].includes(answer.status)
}

/** Seconds, or a date. */
function retryAfterMs(answer: ProviderAnswer): number {
  const text = answer.kind === 'answered' ? answer.headers.get('retry-after') : null
  if (text === null) return 0
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now()
  return Number.isNaN(ms) ? 0 : Math.max(0, ms)
}

function readPage({ body, headers }: Answered, apiUrl: string): HistoryPage {
  const resources = readResources(body, 'messages')
  if (resources === undefined) throw unexpected('what answers is not a list of messages')
  const ours = resources.filter(isWhatsApp)
  const messages = ours.flatMap((resource) => readListedMessage(resource) ?? [])
  return present<HistoryPage>({
    messages,
    otherChannels: resources.length - ours.length,
    unsent: ours.length - messages.length,
    newest: newestOf(resources),
    next: nextPath(body, apiUrl),
    date: dateOf(headers),
  })
}

function newestOf(resources: readonly Resource[]): Date | undefined {
  const times = resources.flatMap((resource) => timeOf(resource, 'date_sent')?.getTime() ?? [])
  return times.length === 0 ? undefined : new Date(Math.max(...times))
}

/** @throws HistoryError where the next page is at another address, which would receive the credentials. */
function nextPath(body: unknown, apiUrl: string): string | undefined {
  const next = isResource(body) ? body.next_page_uri : undefined
  if (typeof next !== 'string' || next === '') return undefined
  const path = next.startsWith(`${apiUrl}/`) ? next.slice(apiUrl.length) : next
  const isBelow = path.startsWith('/') && URL.parse(apiUrl + path)?.origin === URL.parse(apiUrl)?.origin
  if (!isBelow) throw unexpected('its next page is at another address, which is not followed')
  return path
}

function dateOf(headers: Headers): Date | undefined {
  const time = Date.parse(headers.get('date') ?? '')
  return Number.isNaN(time) ? undefined : new Date(time)
}
