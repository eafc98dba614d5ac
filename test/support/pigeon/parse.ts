/** Webhooks of Pigeon Post: `{"letter": {id, from, to, text}}`, `{"flight": {id, state, from, ref}}`, or anything else. */
import { isUtf8 } from 'node:buffer'
import {
  EVENT_VERSION,
  type InboundJob,
  MAX_WA_MESSAGE_ID_BYTES,
  type WebhookEvent,
} from '../../../src/core/event.ts'
import type { ContactRef, Fact } from '../../../src/core/fact.ts'
import { contentJobId } from '../../../src/core/job-id.ts'
import { phoneDigits } from '../../../src/core/phone.ts'
import { keyProblem } from '../../../src/core/storable-key.ts'
import { present } from '../../../src/providers/present.ts'
import { pigeonJobIds } from './letter-id.ts'

type Fields = Readonly<Record<string, unknown>>

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function parsePigeon(rawBody: Buffer, received_at: number): InboundJob[] {
  const text = rawBody.toString('utf8')
  if (isUtf8(rawBody) && readObject(text) !== undefined) return [toJob(text, received_at)]
  const payload = rawBody.toString('base64')
  const event: WebhookEvent = {
    v: EVENT_VERSION,
    kind: 'unreadable',
    provider: 'pigeon',
    received_at,
    payload,
    park: 'the body is no JSON object',
  }
  return [{ job_id: contentJobId(['pigeon', 'unreadable', payload]), event }]
}

export function reparsePigeon({ kind, payload, received_at }: WebhookEvent): InboundJob[] {
  return kind === 'unreadable'
    ? parsePigeon(Buffer.from(payload, 'base64'), received_at)
    : [toJob(payload, received_at)]
}

export function normalizePigeon(event: WebhookEvent): Fact {
  const { kind, park, wa_message_id, business_number = '' } = event
  if (park !== undefined) return { kind: 'parked', reason: park }
  const { letter, flight } = readObject(event.payload) ?? {}
  if (wa_message_id !== undefined && kind === 'message') {
    const { text, from } = object(letter)
    return present<Fact & { kind: 'message' }>({
      kind: 'message',
      provider: 'pigeon',
      business_number,
      direction: 'inbound',
      source: 'webhook',
      is_placeholder: false,
      wa_message_id,
      contact: contactOf(from),
      message_type: 'text',
      content: typeof text === 'string' ? text : undefined,
      forwarded: false,
      frequently_forwarded: false,
      media: [],
    })
  }
  if (wa_message_id !== undefined && kind === 'status') {
    const { state, ref } = object(flight)
    return present<Fact & { kind: 'status' }>({
      kind: 'status',
      provider: 'pigeon',
      business_number,
      wa_message_id,
      status: String(state),
      participant: '',
      callback_id: typeof ref === 'string' && UUID.test(ref) ? ref : undefined,
    })
  }
  return { kind: 'other', identities: [], contacts: [] }
}

function toJob(payload: string, received_at: number): InboundJob {
  const { letter, flight } = readObject(payload) ?? {}
  const item = letter === undefined ? flight : letter
  const kind = letter !== undefined ? 'message' : flight !== undefined ? 'status' : 'other'
  const { id, state, to, from } = object(item)
  const problem = kind === 'other' ? undefined : problemOf(kind, id, state)
  const event = present<WebhookEvent>({
    v: EVENT_VERSION,
    kind,
    provider: 'pigeon',
    received_at,
    wa_message_id: problem === undefined && typeof id === 'string' ? id : undefined,
    business_number: kind === 'other' ? undefined : digits(kind === 'message' ? to : from),
    payload,
    park: problem,
  })
  return { job_id: jobIdOf(event, String(state)), event }
}

function jobIdOf({ kind, wa_message_id, payload }: WebhookEvent, state: string): string {
  if (wa_message_id === undefined || kind === 'other') return contentJobId(['pigeon', kind, payload])
  return kind === 'message' ? pigeonJobIds.message(wa_message_id) : pigeonJobIds.status(wa_message_id, state)
}

function problemOf(kind: 'message' | 'status', id: unknown, state: unknown): string | undefined {
  if (typeof id !== 'string' || id === '') return `the ${kind} has no id`
  const problem = keyProblem(id, MAX_WA_MESSAGE_ID_BYTES)
  if (problem !== undefined) return `the ${kind} has an id ${problem}`
  const isState = kind === 'message' || (typeof state === 'string' && keyProblem(state, 100) === undefined)
  return isState ? undefined : 'the status has no state'
}

function contactOf(from: unknown): ContactRef {
  const phone = digits(from)
  return phone === undefined ? {} : { phone }
}

function digits(value: unknown): string | undefined {
  return typeof value === 'string' ? phoneDigits(value) : undefined
}

function readObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Fields)
      : undefined
  } catch {
    return undefined
  }
}

function object(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}
