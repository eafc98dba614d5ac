/** From a body to what the worker stores, in one step: what most of these tests are about. */
import type { InboundJob, WebhookEvent } from '../../../src/core/event.ts'
import type { Fact, MessageFact, OtherFact, StatusFact } from '../../../src/core/fact.ts'
import { normalizeMeta } from '../../../src/providers/meta/normalize.ts'
import { parseMetaWebhook } from '../../../src/providers/meta/parse.ts'
import { metaChange, metaMessagesWebhook, metaWebhook } from '../../support/meta-webhooks.ts'

export const RECEIVED_AT = Date.UTC(2026, 0, 2, 3, 4, 5)

export function jobsOf(body: unknown): InboundJob[] {
  const bytes = Buffer.isBuffer(body)
    ? body
    : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  return parseMetaWebhook(bytes, RECEIVED_AT)
}

export function eventsOf(body: unknown): WebhookEvent[] {
  return jobsOf(body).map((job) => job.event)
}

export function factsOf(body: unknown): Fact[] {
  return eventsOf(body).map(normalizeMeta)
}

/** The fact of the only message of a body with these contacts. */
export function messageFactOf(
  message: Record<string, unknown>,
  contacts?: Record<string, unknown>[],
): MessageFact {
  return onlyMessage(metaMessagesWebhook([message], contacts))
}

export function onlyMessage(body: unknown): MessageFact {
  const [fact, ...more] = factsOf(body).filter((candidate) => candidate.kind === 'message')
  if (fact === undefined || more.length > 0) throw new Error(`expected one message: ${JSON.stringify(body)}`)
  return fact
}

export function onlyStatus(value: Record<string, unknown>): StatusFact {
  const [fact, ...more] = factsOf(metaWebhook([metaChange(value)])).filter(
    (candidate) => candidate.kind === 'status',
  )
  if (fact === undefined || more.length > 0) throw new Error(`expected one status: ${JSON.stringify(value)}`)
  return fact
}

export function otherFactsOf(field: string, value: Record<string, unknown>): OtherFact[] {
  return factsOf(metaWebhook([metaChange(value, field)])).filter((fact) => fact.kind === 'other')
}

/** The properties of an event without those that no test is about. */
export function payloadOf(event: WebhookEvent | undefined): unknown {
  return JSON.parse(event?.payload ?? 'null')
}
