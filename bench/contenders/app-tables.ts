/**
 * The tables of the contenders that are not wa-ingest: what a chat application needs and nothing more, so that they have
 * fewer columns and indexes to write than wa-ingest has.
 */
export const APP_TABLES = `
  CREATE TABLE conversations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    business_number text NOT NULL,
    customer text NOT NULL,
    name text,
    last_message_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (business_number, customer)
  );
  CREATE INDEX ON conversations (last_message_at DESC);
  CREATE TABLE chat_messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations (id),
    direction text NOT NULL,
    wa_message_id text NOT NULL,
    message_type text NOT NULL,
    content text,
    payload jsonb,
    status text,
    sent_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE UNIQUE INDEX ON chat_messages (wa_message_id);
  CREATE INDEX ON chat_messages (conversation_id, id);
  CREATE TABLE message_statuses (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wa_message_id text NOT NULL,
    status text NOT NULL,
    occurred_at timestamptz,
    payload jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (wa_message_id, status)
  );
`
