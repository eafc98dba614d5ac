/**
 * The moment at which a message of ours and the provider's id come together, for all who may bring them together: the
 * response to the send, a status or an echo with our callback_id, a look-up.
 *
 * Whoever is first gives the row its id. If meanwhile somebody has stored a row of that id (an echo, a back-fill, another
 * process), the two are one message: the row that was born here keeps its id, because people hold on to it, and takes what
 * it lacks; the other one goes whole to quarantine. `changes` announces both.
 *
 * Safe to repeat and to race: rows are locked in the order of their ids, and an insert of the same wa_message_id that is
 * in flight decides on the unique index, after which this runs again and finds the row.
 */
import { randomUUID } from 'node:crypto'
import { type Kysely, sql, type Transaction } from 'kysely'
import { announce } from '../announce.ts'
import { moveRows } from '../any-table/move-rows.ts'
import { queryWithKysely } from '../any-table/query.ts'
import { findReferences } from '../any-table/references.ts'
import { TableError } from '../any-table/table-error.ts'
import { describeTarget } from '../any-table/target.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { sqlStateOf } from '../errors.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'

export type Identification = {
  /** Ours: a message sent through the API. */
  message_id: string
  wa_message_id: string
  /** What its having an id says at least. */
  status?: 'accepted' | 'sent'
  /** The provider's time, where it is known. */
  sent_at?: Date
  /** The provider chooses the number by itself: the row that has the id may be of another number of ours. */
  isNumberChosen?: boolean | undefined
}

/**
 * - `identified`: the message has its id, since just now
 * - `known`: it had it already
 * - `merged`: it has its id, and the row that had it is in quarantine
 * - `taken`: the id is another message's, which cannot be this one; nothing is changed
 * - `other`: it has another id already; nothing is changed
 * - `gone`: there is no such message of ours
 */
export type IdentifyOutcome = 'identified' | 'known' | 'merged' | 'taken' | 'other' | 'gone'

/** Gives a message of ours the provider's id, and merges it with the row that has it. Then run `applyStatuses` for the id. */
export async function identifyMessage(
  db: Kysely<Database>,
  identification: Identification,
): Promise<IdentifyOutcome> {
  return retryConflicts(() => db.transaction().execute((trx) => identifyInTransaction(trx, identification)))
}

async function identifyInTransaction(
  trx: Transaction<Database>,
  identification: Identification,
): Promise<IdentifyOutcome> {
  await lockMergesShared(trx)
  const { own, other } = await lockBoth(trx, identification)
  if (own === undefined) return 'gone'
  if (own.wa_message_id !== null && own.wa_message_id !== identification.wa_message_id) return 'other'
  if (other === undefined) {
    await setId(trx, identification)
    return own.wa_message_id === null ? 'identified' : 'known'
  }
  if (!isSameMessage(own, other, identification)) return 'taken'
  return (await mergeUnlessRefused(trx, identification, other)) ? 'merged' : 'taken'
}

type LockedRow = {
  id: string
  wa_message_id: string | null
  direction: string
  source: string
  provider: string
  business_number: string
  conversation_id: string
}

async function lockBoth(
  trx: Transaction<Database>,
  { message_id, wa_message_id }: Identification,
): Promise<{ own: LockedRow | undefined; other: LockedRow | undefined }> {
  const { rows } = await sql<LockedRow>`
    SELECT m.id, nullif(m.wa_message_id, '') AS wa_message_id, m.direction, m.source, m.conversation_id, c.provider,
      c.business_number
    FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.id = ${message_id}
      OR (m.wa_message_id = ${wa_message_id} AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> '')
    ORDER BY m.id FOR UPDATE OF m`.execute(trx)
  const own = rows.find((row) => row.id === message_id && row.source === 'api')
  return { own, other: rows.find((row) => row.id !== message_id) }
}

/** Two messages that were both sent from here are two, whatever the provider calls them. */
function isSameMessage(own: LockedRow, other: LockedRow, { isNumberChosen }: Identification): boolean {
  return (
    other.source !== 'api' &&
    other.direction === 'outbound' &&
    other.provider === own.provider &&
    (other.business_number === own.business_number || isNumberChosen === true)
  )
}

/** False, and nothing changed, where the table does not let the row go. */
async function mergeUnlessRefused(
  trx: Transaction<Database>,
  identification: Identification,
  other: LockedRow,
): Promise<boolean> {
  await sql`SAVEPOINT merge_messages`.execute(trx)
  try {
    await merge(trx, identification, other)
    return true
  } catch (err) {
    const isRefused = err instanceof TableError || sqlStateOf(err)?.startsWith('23') === true
    if (!isRefused) throw err
    await sql`ROLLBACK TO SAVEPOINT merge_messages`.execute(trx)
    return false
  }
}

/** The id is taken off the row that goes before it is given to the one that stays: one row at a time may have it. */
async function merge(
  trx: Transaction<Database>,
  identification: Identification,
  other: LockedRow,
): Promise<void> {
  const { message_id, wa_message_id } = identification
  await sql`
    UPDATE chat_messages m SET
      status = CASE WHEN ${isAhead('o', 'm')} THEN o.status ELSE m.status END,
      error = CASE WHEN ${isAhead('o', 'm')} THEN o.error ELSE m.error END,
      sent_at = coalesce(o.sent_at, m.sent_at)
    FROM chat_messages o WHERE m.id = ${message_id} AND o.id = ${other.id}`.execute(trx)
  await sql`UPDATE chat_messages SET wa_message_id = NULL WHERE id = ${other.id}`.execute(trx)
  await setId(trx, identification)
  const query = queryWithKysely(trx)
  const target = await describeTarget(query, { table: 'chat_messages', column: 'wa_message_id' })
  const references = await findReferences(query, target)
  const move = { moved: other.id, kept: message_id, id: wa_message_id, held: null }
  const { moved } = await moveRows(
    query,
    { target, references, runId: randomUUID(), fillsGaps: true },
    [move],
    REASON,
  )
  if (moved.length === 0) throw new TableError(`message ${other.id} could not be moved`)
  await sql`
    WITH merged (id, conversation_id, merged_into) AS (
      VALUES (${other.id}::bigint, ${other.conversation_id}::bigint, ${message_id}::bigint)
    )
    ${announce('message.merged', 'merged')}`.execute(trx)
}

const REASON = 'the same message as one that was sent from here'

/** Notes the change only where there is one, so that repeating it is quiet. */
async function setId(
  trx: Transaction<Database>,
  { message_id, wa_message_id, status = 'accepted', sent_at }: Identification,
): Promise<void> {
  await sql`
    WITH identified AS (
      UPDATE chat_messages m SET wa_message_id = ${wa_message_id},
        status = CASE WHEN s.is_ahead THEN ${status} ELSE m.status END,
        error = CASE WHEN s.is_ahead THEN NULL ELSE m.error END,
        sent_at = coalesce(m.sent_at, ${sent_at ?? null}::timestamptz),
        not_before = NULL, updated_at = now()
      FROM (SELECT id, coalesce(wa_status_rank(status), -1) < wa_status_rank(${status}) AS is_ahead
        FROM chat_messages WHERE id = ${message_id}) s
      WHERE m.id = s.id AND (s.is_ahead OR m.wa_message_id IS DISTINCT FROM ${wa_message_id})
      RETURNING m.id, m.conversation_id
    )
    ${announce('message.status', 'identified')}`.execute(trx)
}

/** SQL: whether the status of one row is ahead of the other's, by the ranks of src/core/status.ts. */
function isAhead(one: string, other: string) {
  const rank = (alias: string) =>
    `(coalesce(wa_status_rank(${alias}.status), -1), coalesce(${alias}.status, ''))`
  return sql.raw(`${rank(one)} > ${rank(other)}`)
}
