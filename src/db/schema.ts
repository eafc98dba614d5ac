/** Types of the tables, for Kysely. The migrations create the tables; test/db/schema.test.ts compares the two. */
import type { Generated } from 'kysely'
import type { GeneratedTimestamp, Id, Json, Timestamp } from './column-types.ts'
import type {
  ContactIdentifiersTable,
  ContactMergesTable,
  ContactSplitsTable,
  ContactsTable,
  ConversationSplitsTable,
  ConversationsTable,
  PortfolioAccountsTable,
} from './contact-tables.ts'

export type ChatMessagesTable = {
  id: Id
  conversation_id: string
  /** The conversation that had it before conversations were merged; null: no merge has moved it. */
  original_conversation_id: string | null
  direction: 'inbound' | 'outbound'
  provider: string
  wa_message_id: string | null
  client_message_id: string | null
  callback_id: string | null
  source: string
  detail: number
  sender_contact_id: string | null
  message_type: string
  content: string | null
  payload: Json | null
  raw: Buffer | null
  status: string | null
  error: Json | null
  reply_to_wa_message_id: string | null
  target_wa_message_id: string | null
  forwarded: Generated<boolean>
  frequently_forwarded: Generated<boolean>
  referral: Json | null
  media_id: string | null
  media_url: string | null
  media_mime_type: string | null
  media_sha256: string | null
  media_filename: string | null
  media_voice: boolean | null
  media: Json | null
  sent_at: Timestamp | null
  received_at: Timestamp | null
  created_at: GeneratedTimestamp
  updated_at: GeneratedTimestamp
  /** Messages sent through the API alone; the shape is OutboundMessage of src/core/outbound.ts. */
  request: Json | null
  request_hash: string | null
  resend_of: string | null
  not_before: Timestamp | null
  send_attempts: Generated<number>
  send_backoffs: Generated<number>
  sending_since: Timestamp | null
  looked_up_at: Timestamp | null
}

export type MessageStatusesTable = {
  id: Id
  wa_message_id: string
  status: string
  participant: Generated<string>
  provider: string
  business_number: string
  callback_id: string | null
  occurred_at: Timestamp | null
  errors: Json | null
  pricing: Json | null
  conversation: Json | null
  payload: Json | null
  raw: Buffer | null
  received_at: Timestamp
  created_at: GeneratedTimestamp
}

export type ChatMessagesDuplicatesTable = {
  id: Id
  run_id: string
  source_table: Generated<string>
  original_id: string
  kept_id: string
  wa_message_id: string
  reason: string
  row: Json
  moved_at: GeneratedTimestamp
}

export type WebhookEventsTable = {
  id: Id
  event_key: string
  provider: string
  kind: string
  field: string | null
  account: string | null
  business_number: string | null
  wa_message_id: string | null
  context: Json | null
  payload: Json | null
  raw: Buffer
  reason: string | null
  received_at: Timestamp
  created_at: GeneratedTimestamp
  reprocessed_at: Timestamp | null
}

export type ChangesTable = {
  xid: Generated<string>
  id: Id
  kind: string
  conversation_id: string | null
  message_id: string | null
  created_at: GeneratedTimestamp
  /** On 'message.merged' and 'conversation.merged': the id of the message or conversation that stays. */
  merged_into: string | null
}

export type ChangesHorizonTable = {
  is_only: Generated<boolean>
  xid: Generated<string>
  id: Generated<string>
}

export type CountersTable = { name: string; shard: number; value: string }

export type LeasesTable = { name: string; holder: string; expires_at: Timestamp }

export type SendBucketsTable = {
  provider: string
  business_number: string
  rate_per_second: Generated<number>
  tokens: number
  refilled_at: Timestamp
}

export type SendPausesTable = {
  provider: string
  /** '' for all numbers of the provider. */
  business_number: Generated<string>
  paused_until: Timestamp
  failures: number
  credential: string | null
  error: Json | null
  /** Of the claim that tries at the moment. */
  trial: string | null
  /** The message whose refusals alone keep the breaker open. */
  suspect: string | null
  since: Timestamp
  updated_at: Timestamp
}

export type SendRefusalsTable = {
  message_id: string
  provider: string
  /** '' where the refusal stopped all numbers of the provider. */
  business_number: string
  has_other_passed: Generated<boolean>
  times_alone: Generated<number>
  updated_at: Timestamp
}

export type SendDoubtsTable = {
  provider: string
  business_number: string
  in_a_row: number
  is_provider_silent: boolean
  updated_at: Timestamp
}

export type ReadReceiptsTable = {
  conversation_id: string
  message_id: string
  wa_message_id: string
  attempts: Generated<number>
  not_before: GeneratedTimestamp
  requested_at: GeneratedTimestamp
  settled_at: Timestamp | null
  error: Json | null
}

export type BackfillPositionsTable = {
  provider: string
  account: string
  position: Timestamp | null
  started_at: Timestamp | null
}

export type UploadsTable = {
  id: string
  mime_type: string
  size_bytes: string
  /** Hex. */
  sha256: string
  filename: string | null
  created_at: GeneratedTimestamp
  expires_at: Timestamp
}

export type UploadCopiesTable = {
  upload_id: string
  provider: string
  business_number: string
  /** The provider's id of the file. */
  media_id: string | null
  copied_at: Timestamp | null
  copying_until: Timestamp | null
}

export type Database = {
  contacts: ContactsTable
  contact_identifiers: ContactIdentifiersTable
  contact_merges: ContactMergesTable
  portfolio_accounts: PortfolioAccountsTable
  contact_splits: ContactSplitsTable
  conversation_splits: ConversationSplitsTable
  conversations: ConversationsTable
  chat_messages: ChatMessagesTable
  message_statuses: MessageStatusesTable
  chat_messages_duplicates: ChatMessagesDuplicatesTable
  webhook_events: WebhookEventsTable
  changes: ChangesTable
  changes_horizon: ChangesHorizonTable
  counters: CountersTable
  leases: LeasesTable
  send_buckets: SendBucketsTable
  send_pauses: SendPausesTable
  send_doubts: SendDoubtsTable
  send_refusals: SendRefusalsTable
  read_receipts: ReadReceiptsTable
  backfill_positions: BackfillPositionsTable
  uploads: UploadsTable
  upload_copies: UploadCopiesTable
}

/** The names of all tables. The compiler keeps the list complete. */
export const TABLES: readonly string[] = Object.keys({
  contacts: true,
  contact_identifiers: true,
  contact_merges: true,
  portfolio_accounts: true,
  contact_splits: true,
  conversation_splits: true,
  conversations: true,
  chat_messages: true,
  message_statuses: true,
  chat_messages_duplicates: true,
  webhook_events: true,
  changes: true,
  changes_horizon: true,
  counters: true,
  leases: true,
  send_buckets: true,
  send_pauses: true,
  send_doubts: true,
  send_refusals: true,
  read_receipts: true,
  backfill_positions: true,
  uploads: true,
  upload_copies: true,
} satisfies Record<keyof Database, true>)

/** The columns of the quarantine, which dedupe makes too where there are no tables of ours. */
export const QUARANTINE_COLUMNS: readonly string[] = Object.keys({
  id: true,
  run_id: true,
  source_table: true,
  original_id: true,
  kept_id: true,
  wa_message_id: true,
  reason: true,
  row: true,
  moved_at: true,
} satisfies Record<keyof ChatMessagesDuplicatesTable, true>)
