/**
 * Sending. A message of ours is a row before it is sent, and PostgreSQL says what may be sent when: order, back-off, rates
 * and stopped senders are all here, so that the queue is only a doorbell.
 */
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of [...MESSAGES, ...LIMITS, ...RECEIPTS]) await sql.raw(statement).execute(db)
}

const MESSAGES = [
  // request: what to send, in the form of src/core/outbound.ts. not_before: back-off; send_backoffs: how many in a row.
  // sending_since: when it was last claimed. looked_up_at: when the provider was last asked what became of it.
  `ALTER TABLE chat_messages
    ADD COLUMN request jsonb,
    ADD COLUMN request_hash text,
    ADD COLUMN resend_of bigint,
    ADD COLUMN not_before timestamptz,
    ADD COLUMN send_attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN send_backoffs integer NOT NULL DEFAULT 0,
    ADD COLUMN sending_since timestamptz,
    ADD COLUMN looked_up_at timestamptz`,
  // Two people who resend one message at the same time make one message.
  `CREATE UNIQUE INDEX chat_messages_resend_of_unique ON chat_messages (resend_of) WHERE resend_of IS NOT NULL`,
  // What waits in a conversation, oldest first; never more than is being sent at the moment.
  `CREATE INDEX chat_messages_outbox_idx ON chat_messages (conversation_id, id)
    WHERE source = 'api' AND wa_message_id IS NULL AND status IN ('queued', 'sending')`,
  // Where a message went that turned out to be another one: the kept row's id for the announcement of the lost one.
  `ALTER TABLE changes ADD COLUMN merged_into bigint`,
  `CREATE INDEX IF NOT EXISTS chat_messages_duplicates_original_id_idx
    ON chat_messages_duplicates (source_table, original_id)`,
]

const LIMITS = [
  // A token bucket for each of our numbers. rate_per_second may be changed by hand: 20 for a number that is also on the
  // phone app, 1000 for one that Meta has upgraded.
  `CREATE TABLE send_buckets (
    provider text NOT NULL,
    business_number text NOT NULL,
    rate_per_second double precision NOT NULL DEFAULT 80 CONSTRAINT send_buckets_rate_check CHECK (rate_per_second > 0),
    tokens double precision NOT NULL,
    refilled_at timestamptz NOT NULL,
    CONSTRAINT send_buckets_pkey PRIMARY KEY (provider, business_number)
  )`,
  // A number that may not send for a while; business_number '' stands for all numbers of the provider. credential: a
  // digest of the token that was refused, so that another token is tried at once.
  `CREATE TABLE send_pauses (
    provider text NOT NULL,
    business_number text NOT NULL DEFAULT '',
    paused_until timestamptz NOT NULL,
    failures integer NOT NULL,
    credential text,
    error jsonb,
    since timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT send_pauses_pkey PRIMARY KEY (provider, business_number)
  )`,
]

const RECEIPTS = [
  // One for each conversation: the newest message read covers all before it.
  `CREATE TABLE read_receipts (
    conversation_id bigint NOT NULL REFERENCES conversations (id),
    message_id bigint NOT NULL,
    wa_message_id text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    not_before timestamptz NOT NULL DEFAULT now(),
    requested_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    error jsonb,
    CONSTRAINT read_receipts_pkey PRIMARY KEY (conversation_id)
  )`,
  `CREATE INDEX read_receipts_due_idx ON read_receipts (not_before) WHERE settled_at IS NULL`,
]
