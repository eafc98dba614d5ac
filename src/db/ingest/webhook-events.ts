/** Rows of `webhook_events`: events that are neither a message nor a status, and parked events. */
import { sql, type Transaction } from 'kysely'
import type { FinalOutcome, WebhookEvent } from '../../core/event.ts'
import type { Database } from '../schema.ts'
import { base64, jsonbColumn, textColumn } from './payload-columns.ts'
import type { EventItem } from './store-item.ts'

/** Stores each event once, by its job id. Outcomes are in the order of `items`. */
export async function writeWebhookEvents(
  trx: Transaction<Database>,
  items: readonly EventItem[],
): Promise<FinalOutcome[]> {
  const first = new Map<string, EventItem>()
  for (const item of items) if (!first.has(item.job_id)) first.set(item.job_id, item)
  const rows = [...first.keys()].sort().map((key) => eventRow(first.get(key) as EventItem))
  const { rows: inserted } = await sql<{ event_key: string }>`
    INSERT INTO webhook_events (event_key, provider, kind, field, account, business_number, wa_message_id, context,
      payload, raw, reason, received_at)
    SELECT r.event_key, r.provider, r.kind, r.field, r.account, r.business_number, r.wa_message_id, r.context::jsonb,
      r.payload::jsonb, decode(r.raw, 'base64'), r.reason, r.received_at
    FROM json_to_recordset(${JSON.stringify(rows)}::json) AS r(event_key text, provider text, kind text, field text,
      account text, business_number text, wa_message_id text, context text, payload text, raw text, reason text,
      received_at timestamptz)
    ON CONFLICT ON CONSTRAINT webhook_events_event_key_unique DO NOTHING
    RETURNING event_key`.execute(trx)
  const stored = new Set(inserted.map((row) => row.event_key))
  return items.map((item) => {
    if (first.get(item.job_id) !== item || !stored.has(item.job_id)) return 'duplicate'
    return item.fact.kind === 'parked' ? 'parked' : 'stored'
  })
}

function eventRow(item: EventItem) {
  const { event, fact } = item
  return {
    event_key: item.job_id,
    provider: event.provider,
    kind: event.kind,
    field: textColumn(event.field),
    account: textColumn(event.account),
    business_number: textColumn(event.business_number),
    wa_message_id: textColumn(event.wa_message_id),
    context: jsonbColumn(item, event.context),
    ...bodyColumns(item, event),
    reason: fact.kind === 'parked' ? textColumn(fact.reason) : null,
    received_at: new Date(event.received_at),
  }
}

/** `raw` (base64) is always set: the body of an unreadable webhook, else the text of the provider's object. */
function bodyColumns(item: EventItem, event: WebhookEvent): { payload: string | null; raw: string } {
  if (event.kind === 'unreadable') return { payload: null, raw: event.payload }
  return { payload: jsonbColumn(item, event.payload), raw: base64(event.payload) }
}
