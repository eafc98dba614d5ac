/** Entries of a provider's list as items for the batch writer. */
import { EVENT_VERSION, type ProviderName, type WebhookEvent } from '../core/event.ts'
import type { MessageFact } from '../core/fact.ts'
import type { JobIds } from '../core/job-id.ts'
import { statusRank } from '../core/status.ts'
import type { MessageItem, StatusItem } from '../db/ingest/store-item.ts'
import type { ListedMessage } from '../providers/message-history.ts'

/** The provider that the list is from. */
type ListSource = { provider: ProviderName; jobIds: JobIds }

type Content = Pick<MessageFact, 'message_type' | 'content' | 'media'>

/** `sent_at` is the message's own time, so it takes its place among older messages. */
export function listedMessageItem(
  { provider, jobIds }: ListSource,
  message: ListedMessage,
  content: Content,
  receivedAt: number,
): MessageItem {
  const { wa_message_id, direction, account, business_number, contact, status, errors } = message
  const isKnownStatus = status !== undefined && statusRank(status) !== undefined
  const sent_at = direction === 'inbound' ? message.created_at : (message.sent_at ?? message.created_at)
  return {
    job_id: jobIds.message(wa_message_id),
    event: eventOf('message', provider, message, receivedAt),
    fact: {
      kind: 'message',
      provider,
      ...(account === undefined ? {} : { account }),
      business_number,
      direction,
      source: 'backfill',
      is_placeholder: false,
      wa_message_id,
      contact,
      ...content,
      forwarded: false,
      frequently_forwarded: false,
      ...(isKnownStatus ? { status } : {}),
      ...(errors === undefined ? {} : { error: errors }),
      sent_at,
    },
  }
}

/** Its time is that of the entry's last change: the list has none of the status itself. */
export function listedStatusItem(
  { provider, jobIds }: ListSource,
  message: ListedMessage,
  status: string,
  receivedAt: number,
): StatusItem {
  const { wa_message_id, account, business_number, errors, updated_at } = message
  return {
    job_id: jobIds.status(wa_message_id, status),
    event: eventOf('status', provider, message, receivedAt),
    fact: {
      kind: 'status',
      provider,
      ...(account === undefined ? {} : { account }),
      business_number,
      wa_message_id,
      status,
      participant: '',
      ...(updated_at === undefined ? {} : { occurred_at: updated_at }),
      ...(errors === undefined ? {} : { errors }),
    },
  }
}

function eventOf(
  kind: 'message' | 'status',
  provider: ProviderName,
  { wa_message_id, account, business_number, payload }: ListedMessage,
  received_at: number,
): WebhookEvent {
  return {
    v: EVENT_VERSION,
    kind,
    provider,
    received_at,
    wa_message_id,
    ...(account === undefined ? {} : { account }),
    business_number,
    field: 'backfill',
    payload,
  }
}
