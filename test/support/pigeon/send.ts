/** Sending through Pigeon Post: one call for each letter, file and receipt. */
import type { SendError, SendResult } from '../../../src/core/outbound.ts'
import { callProvider, credentialDigest, type ProviderAnswer } from '../../../src/providers/call.ts'
import { type ReceiptResult, type Sender, unanswered } from '../../../src/providers/sender.ts'
import { pigeonJobIds } from './letter-id.ts'

export function createPigeonSender({ token, apiUrl }: { token: string; apiUrl: string }): Sender {
  const post = (path: string, body: string | Blob, signal: AbortSignal) =>
    callProvider({
      url: apiUrl + path,
      headers: { authorization: `Bearer ${token}` },
      body,
      signal,
      secrets: [token],
    })
  return {
    jobIds: pigeonJobIds,
    credentialDigest: credentialDigest(token),
    send: async ({ content, business_number: from, recipient: { phone: to }, callback_id: ref }, signal) => {
      if (content.type !== 'text')
        return { kind: 'failed', error: { code: 'unsupported', message: 'pigeons carry text alone' } }
      const answer = await post('/letters', JSON.stringify({ from, to, ref, text: content.text }), signal)
      const id = idOf(answer)
      return id === undefined ? refusalOf(answer) : { kind: 'accepted', wa_message_id: id }
    },
    copyFile: async ({ content }, signal) => {
      const answer = await post('/enclosures', content, signal)
      const media_id = idOf(answer)
      if (media_id !== undefined) return { kind: 'copied', media_id }
      const refusal = refusalOf(answer)
      if (refusal.kind === 'failed' || refusal.kind === 'stop_sender') return refusal
      const error = 'error' in refusal ? refusal.error : { code: 'no_id', message: 'no id' }
      return { kind: 'not_sent', reason: 'copy_unconfirmed', error }
    },
    markRead: async ({ wa_message_id }, signal): Promise<ReceiptResult> => {
      const answer = await post('/receipts', JSON.stringify({ id: wa_message_id }), signal)
      if (answer.kind === 'answered' && answer.status === 200) return { kind: 'done' }
      const refusal = refusalOf(answer)
      const error = 'error' in refusal ? refusal.error : { code: 'no_answer', message: 'no answer' }
      return { kind: refusal.kind === 'failed' ? 'failed' : 'retry', error }
    },
  }
}

function idOf(answer: ProviderAnswer): string | undefined {
  if (answer.kind !== 'answered' || answer.status !== 200) return undefined
  const { body } = answer
  return typeof body === 'object' && body !== null && 'id' in body ? String(body.id) : undefined
}

function refusalOf(answer: ProviderAnswer): SendResult {
  if (answer.kind !== 'answered') return unanswered(answer)
  const { status, body } = answer
  const message = typeof body === 'object' && body !== null && 'message' in body ? String(body.message) : ''
  const error: SendError = { code: `http_${status}`, message }
  if (status === 429) return { kind: 'not_sent', reason: 'number_rate', error }
  if (status === 401 || status === 403) return { kind: 'stop_sender', error }
  return status >= 400 && status < 500 ? { kind: 'failed', error } : { kind: 'unknown', error }
}
