/** Why Twilio's list could not be read, and what to do, in one line each. */
import type { ProviderAnswer } from '../call.ts'
import { HistoryError } from '../message-history.ts'
import { isResource } from './message-resource.ts'

/** Of an answer that is not the list. */
export function refusal(
  answer: ProviderAnswer,
  { accountSid, apiUrl }: { accountSid: string; apiUrl: string },
): HistoryError {
  if (answer.kind !== 'answered')
    return new HistoryError(
      'unreachable',
      `${apiUrl} cannot be reached (${answer.code}: ${answer.message}); check the network and TWILIO_API_URL`,
    )
  const words = wordsOf(answer.status, answer.body)
  if (answer.status === 401 || answer.status === 403)
    return new HistoryError(
      'credentials',
      `Twilio refuses the credentials (${words}); TWILIO_ACCOUNT_SID and the first token of TWILIO_AUTH_TOKEN must be ` +
        'those of one account, see Account > API keys & tokens in the Twilio console',
    )
  if (answer.status === 404)
    return new HistoryError(
      'credentials',
      `Twilio has no account ${accountSid} (${words}); check TWILIO_ACCOUNT_SID and TWILIO_API_URL`,
    )
  if (answer.status === 429) return new HistoryError('rate_limit', tooMany(words, answer.headers))
  if (answer.status >= 500)
    return new HistoryError('unreachable', `Twilio cannot answer at the moment (${words}); try again later`)
  return unexpected(words)
}

export function unexpected(what: string): HistoryError {
  return new HistoryError(
    'unexpected',
    `Twilio's list of messages cannot be read: ${what}; check TWILIO_API_URL`,
  )
}

function tooMany(words: string, headers: Headers): string {
  const wait = headers.get('retry-after')
  const when = wait !== null && /^\d+$/.test(wait) ? `in ${wait} s` : 'later'
  return `Twilio takes no more requests at the moment (${words}); try again ${when}`
}

/** `HTTP 401, 20003: Authenticate` */
function wordsOf(status: number, body: unknown): string {
  const { code, message } = isResource(body) ? body : {}
  const own = [code, message].filter((part) => typeof part === 'number' || typeof part === 'string')
  return [`HTTP ${status}`, ...(own.length > 0 ? [own.join(': ')] : [])].join(', ')
}
