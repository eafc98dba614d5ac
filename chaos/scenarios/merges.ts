/** Two contacts with long conversations turn out to be one person. */
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { BACKENDS } from '../world/world.ts'

const SECOND = 1_000
const MESSAGES = 20_000

export const bigMerge: Scenario = {
  name: 'big-merge',
  promise: `a contact with ${MESSAGES / 1_000},000 messages is merged under load, and the worker that moves them is killed: one conversation, nobody waits`,
  backends: BACKENDS,
  seconds: 6,
  world: { workers: 2 },
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      const loser = await divideContact(ctx)
      await ctx.until('the two contacts are merged', 20 * SECOND, () => isMerged(ctx, loser))
      for (const worker of ctx.world.workers) {
        await worker.kill()
        await worker.start()
      }
      await ctx.until('all messages have moved', 90 * SECOND, async () => (await countMoving(ctx)) === 0)
      const moved = await removeAddedMessages(ctx)
      ctx.check(`all added messages are in the remaining conversation (${moved})`, moved === MESSAGES)
      ctx.note(`${moved} messages moved`)
    })
  },
}

export const mergeScenarios = [bigMerge]

/**
 * Gives the user id of a person to a second contact with a long conversation; the person's next webhook names phone and user
 * id, which merges the two. Returns that conversation.
 */
async function divideContact({ world }: ScenarioContext): Promise<string> {
  const [row] = await world.postgres.query<{
    id: string
    contact_id: string
    user_id: string
    phone: string
  }>(`
    WITH person AS (
      SELECT i.value AS user_id, p.value AS phone, c.name, v.provider, v.business_number FROM contact_identifiers i
      JOIN contacts c ON c.id = i.contact_id
      JOIN contact_identifiers p ON p.contact_id = i.contact_id AND p.kind = 'phone' AND p.retired_at = 'infinity'
      JOIN conversations v ON v.contact_id = i.contact_id AND v.merged_into IS NULL
      WHERE i.kind = 'user_id' ORDER BY v.last_message_at DESC NULLS LAST LIMIT 1
    ), second AS (
      INSERT INTO contacts (name) SELECT name FROM person RETURNING id
    ), conversation AS (
      INSERT INTO conversations (provider, business_number, contact_id)
      SELECT provider, business_number, second.id FROM person, second RETURNING id, contact_id
    ), messages AS (
      INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type, received_at)
      SELECT id, 'inbound', 'meta', 'added.' || id || '.' || n, 'webhook', 14, 'text', '2020-01-01'
      FROM conversation, generate_series(1, ${MESSAGES}) n
    )
    SELECT conversation.*, user_id, phone FROM conversation, person`)
  if (row === undefined) throw new Error('no person has written yet')
  await world.postgres.query(`
    DO $$ BEGIN
      ${EXCLUSIVE_MERGE_LOCK};
      PERFORM nextval('contact_generation');
      UPDATE contact_identifiers SET contact_id = ${row.contact_id} WHERE kind = 'user_id' AND value = '${row.user_id}';
      UPDATE contact_identifiers SET first_linked_at = NULL, last_linked_at = NULL
      WHERE kind = 'phone' AND value = '${row.phone}';
    END $$`)
  return row.id
}

/** As in src/db/contacts/merge-lock.ts: no process relies on the contacts meanwhile. */
const EXCLUSIVE_MERGE_LOCK = `PERFORM pg_advisory_xact_lock(${0x77612d63}, 1)`

async function isMerged({ world }: ScenarioContext, conversation: string): Promise<boolean> {
  const rows = await world.postgres.query(
    `SELECT FROM conversations WHERE id = ${conversation} AND merged_into IS NOT NULL`,
  )
  return rows.length > 0
}

async function countMoving({ world }: ScenarioContext): Promise<number> {
  const rows = await world.postgres.query('SELECT FROM conversations WHERE moving_since IS NOT NULL')
  return rows.length
}

/** The auditor knows nothing of them. Returns how many were in a conversation that counts. */
async function removeAddedMessages({ world }: ScenarioContext): Promise<number> {
  const [row] = await world.postgres.query<{ count: number }>(`
    WITH removed AS (
      DELETE FROM chat_messages WHERE wa_message_id LIKE 'added.%' RETURNING conversation_id
    )
    SELECT count(*)::int FROM removed JOIN conversations v ON v.id = removed.conversation_id WHERE v.merged_into IS NULL`)
  return row?.count ?? 0
}
