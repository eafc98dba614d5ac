/** Items for the batch writer; a test states only what matters to it. */
import { EVENT_VERSION, type WebhookEvent } from '../../src/core/event.ts'
import type { Fact, MessageFact, StatusFact } from '../../src/core/fact.ts'
import { contentJobId, createJobIds } from '../../src/core/job-id.ts'
import type { StoreItem } from '../../src/db/ingest/store-item.ts'
import { PROVIDERS } from '../../src/providers/index.ts'

/** Takes the ids of all providers as they are. */
export const jobIds = createJobIds(PROVIDERS.map(({ messageIds }) => messageIds.plain).join('|'))

export const BUSINESS_NUMBER = '100200300400500'
export const RECEIVED_AT = Date.parse('2026-06-01T12:00:00Z')

export function messageItem(
  id: string,
  fact: Partial<MessageFact> = {},
  event: Partial<WebhookEvent> = {},
): StoreItem {
  return {
    job_id: jobIds.message(id),
    event: inboundEvent({
      kind: 'message',
      wa_message_id: id,
      payload: JSON.stringify({ id, type: 'text' }),
      ...event,
    }),
    fact: {
      kind: 'message',
      provider: 'meta',
      business_number: BUSINESS_NUMBER,
      direction: 'inbound',
      source: 'webhook',
      is_placeholder: false,
      wa_message_id: id,
      contact: { phone: '15550001234' },
      message_type: 'text',
      content: 'Hello',
      forwarded: false,
      frequently_forwarded: false,
      media: [],
      ...fact,
    },
  }
}

export function statusItem(id: string, status: string, fact: Partial<StatusFact> = {}): StoreItem {
  return {
    job_id: jobIds.status(id, status, fact.participant),
    event: inboundEvent({ kind: 'status', wa_message_id: id, payload: JSON.stringify({ id, status }) }),
    fact: {
      kind: 'status',
      provider: 'meta',
      business_number: BUSINESS_NUMBER,
      wa_message_id: id,
      status,
      participant: '',
      ...fact,
    },
  }
}

export function otherItem(
  payload: object,
  fact: Fact = { kind: 'other', identities: [], contacts: [] },
): StoreItem {
  const text = JSON.stringify(payload)
  return { job_id: contentJobId([text]), event: inboundEvent({ kind: 'other', payload: text }), fact }
}

function inboundEvent(event: Partial<WebhookEvent>): WebhookEvent {
  return {
    v: EVENT_VERSION,
    kind: 'other',
    provider: 'meta',
    received_at: RECEIVED_AT,
    business_number: BUSINESS_NUMBER,
    payload: '{}',
    ...event,
  }
}
