/** Outbound messages, as the API creates them. A test states only what matters to it. */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { OutboundRequest } from '../../src/core/outbound.ts'
import { createOutboundMessage, type OutboundOptions } from '../../src/db/outbox/create.ts'
import type { Database } from '../../src/db/schema.ts'
import { META_CUSTOMER_PHONE, META_PHONE_NUMBER_ID } from './meta-webhooks.ts'

export const TWILIO_BUSINESS_PHONE = '15550001234'

export function outboundOptions(options: Partial<OutboundOptions> = {}): OutboundOptions {
  return {
    idempotencyKey: randomUUID(),
    requestHash: 'hash',
    defaultNumbers: { meta: META_PHONE_NUMBER_ID, twilio: TWILIO_BUSINESS_PHONE },
    ...options,
  }
}

export function textRequest(text = 'Hello', request: Partial<OutboundRequest> = {}): OutboundRequest {
  const to = request.conversation_id === undefined ? { to: { phone: META_CUSTOMER_PHONE } } : {}
  return { type: 'text', text, ...to, ...request } as OutboundRequest
}

/** Creates a text that waits to be sent; returns its id. */
export async function orderText(
  db: Kysely<Database>,
  text?: string,
  request: Partial<OutboundRequest> = {},
  options: Partial<OutboundOptions> = {},
): Promise<string> {
  const outcome = await createOutboundMessage(db, textRequest(text, request), outboundOptions(options))
  if (outcome.kind !== 'created') throw new Error(`not created: ${JSON.stringify(outcome)}`)
  return outcome.message_id
}
