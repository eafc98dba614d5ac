/** Types of the tables of contacts and conversations. */
import type { ColumnType, Generated } from 'kysely'
import type { GeneratedTimestamp, Id, Timestamp } from './column-types.ts'

export type ContactsTable = {
  id: Id
  name: string | null
  username: string | null
  phone: string | null
  merged_into: string | null
  created_at: GeneratedTimestamp
  updated_at: GeneratedTimestamp
}

export type ContactIdentifiersTable = {
  kind: 'phone' | 'user_id' | 'parent_user_id' | 'group' | 'none'
  value: string
  /** `infinity` while the contact has the identifier; the driver reads it as the number Infinity. */
  retired_at: ColumnType<Date | number, Date | string | undefined, Date | string>
  contact_id: string
  /** The contact that had it before contacts were merged; null: no merge has moved it. */
  original_contact_id: string | null
  first_used_at: Timestamp
  last_used_at: Timestamp
  created_at: GeneratedTimestamp
  /** Of a phone: when it was seen with a user id of the contact. */
  first_linked_at: Timestamp | null
  last_linked_at: Timestamp | null
  /** Of a user id: the provider's account in which it was first seen. */
  account: string | null
}

export type PortfolioAccountsTable = {
  account: string
  portfolio: string
}

/** Each merge of two contacts, with the survivor's profile as it was before. */
export type ContactMergesTable = {
  id: Id
  loser_id: string
  survivor_id: string
  survivor_name: string | null
  survivor_username: string | null
  survivor_phone: string | null
  merged_at: GeneratedTimestamp
}

/** Each merge that was undone. */
export type ContactSplitsTable = {
  id: Id
  contact_id: string
  other_id: string
  merged_at: Timestamp
  split_at: GeneratedTimestamp
}

/** Messages on their way back from one conversation to another, by id: up to `last_message_id`, done up to `scanned_id`. */
export type ConversationSplitsTable = {
  id: Id
  contact_split_id: string
  source_id: string
  target_id: string
  last_message_id: string
  scanned_id: Generated<string>
  moved: Generated<string>
  done_at: Timestamp | null
}

export type ConversationsTable = {
  id: Id
  provider: string
  business_number: string
  contact_id: string
  /** The contact that had it before contacts were merged; null: no merge has moved it. */
  original_contact_id: string | null
  merged_into: string | null
  /** Of a merged conversation that still has messages. */
  moving_since: Timestamp | null
  last_message_at: Timestamp | null
  last_read_message_id: Generated<string>
  created_at: GeneratedTimestamp
  /** 'self' or 'other'; null where nothing was said about control. */
  control_holder: string | null
  control_role: string | null
  control_at: Timestamp | null
  control_confirmed_at: Timestamp | null
}
