/**
 * Gives an outbound message the provider's id. The response to the send, a status or an echo with our callback_id, and
 * reconciliation all do it here; the first one sets the id.
 *
 * When another row with that id is stored already (an echo, a back-fill), the two rows are one message and are merged: the row
 * that the API created stays, because applications hold its id, and takes what it lacks from the other one, which goes whole
 * to quarantine. Both are announced in `changes`.
 *
 * Safe to repeat and to run at the same time in several processes: rows are locked in the order of wa_message_id, and when
 * an insert of the same wa_message_id is in flight, the unique index makes this transaction wait and run again.
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
import { statusOrder } from './status-order.ts'
import { applyStatuses } from './statuses.ts'

export type Identification = {
  /** Our id of a message that was sent through the API. */
  message_id: string
  wa_message_id: string
  /** The least status that the id proves; 'accepted' when absent. */
  status?: 'accepted' | 'sent'
  /** The provider's time. */
  sent_at?: Date
  /** The provider chose the sending number, so the stored row may be of another business number. */
  isNumberChosen?: boolean | undefined
}

/**
 * - `identified`: the id has been set
 * - `known`: the message had this id already
 * - `merged`: the id has been set, and the row that had it is in quarantine
 * - `taken`: nothing changed; the id belongs to a message that cannot be the same
 * - `other`: nothing changed; the message has another id
 * - `gone`: there is no such message from the API
 */
export type IdentifyOutcome = 'identified' | 'known' | 'merged' | 'taken' | 'other' | 'gone'

/**
 * Sets the provider's id of a message, merges the row that has it already, and applies the statuses of the id.
 *
 * Statuses that came first are applied in the transaction that sets the id: were the process killed in between, nobody would
 * apply them. They are applied once more after the commit, for those that were stored meanwhile by a writer that could not
 * see the id yet.
 */
export async function identifyMessage(
  db: Kysely<Database>,
  identification: Identification,
): Promise<IdentifyOutcome> {
  const { wa_message_id } = identification
  const outcome = await retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      const found = await identifyInTransaction(trx, identification)
      if (HAS_ID.has(found)) await applyStatuses(trx, [wa_message_id])
      return found
    }),
  )
  if (HAS_ID.has(outcome)) await applyStatuses(db, [wa_message_id])
  return outcome
}

const HAS_ID: ReadonlySet<IdentifyOutcome> = new Set(['identified', 'known', 'merged'])

async function identifyInTransaction(
  trx: Transaction<Database>,
  identification: Identification,
): Promise<IdentifyOutcome> {
  await lockMergesShared(trx)
  const { own, other } = await lockBoth(trx, identification)
  if (own === undefined) return 'gone'
  const hasFailedHere = own.wa_message_id === null && own.status === 'failed'
  if (own.wa_message_id !== null && own.wa_message_id !== identification.wa_message_id) return 'other'
  if (other === undefined) {
    await setId(trx, identification, hasFailedHere)
    return own.wa_message_id === null ? 'identified' : 'known'
  }
  if (!isSameMessage(own, other, identification)) return 'taken'
  return (await mergeUnlessRefused(trx, identification, other, hasFailedHere)) ? 'merged' : 'taken'
}

type LockedRow = {
  id: string
  wa_message_id: string | null
  direction: string
  source: string
  status: string | null
  provider: string
  business_number: string
  conversation_id: string
}

async function lockBoth(
  trx: Transaction<Database>,
  { message_id, wa_message_id }: Identification,
): Promise<{ own: LockedRow | undefined; other: LockedRow | undefined }> {
  const { rows } = await sql<LockedRow>`
    SELECT m.id, nullif(m.wa_message_id, '') AS wa_message_id, m.direction, m.source, m.status, m.conversation_id,
      c.provider, c.business_number
    FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.id = ${message_id}
      OR (m.wa_message_id = ${wa_message_id} AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> '')
    ORDER BY m.wa_message_id, m.id FOR UPDATE OF m`.execute(trx)
  const own = rows.find((row) => row.id === message_id && row.source === 'api')
  return { own, other: rows.find((row) => row.id !== message_id) }
}

/** Two messages that were both sent through the API are never the same one. */
function isSameMessage(own: LockedRow, other: LockedRow, { isNumberChosen }: Identification): boolean {
  return (
    other.source !== 'api' &&
    other.direction === 'outbound' &&
    other.provider === own.provider &&
    (other.business_number === own.business_number || isNumberChosen === true)
  )
}

/** False, with nothing changed, when the other row cannot be moved: a user's constraint or trigger forbids it. */
async function mergeUnlessRefused(
  trx: Transaction<Database>,
  identification: Identification,
  other: LockedRow,
  hasFailedHere: boolean,
): Promise<boolean> {
  await sql`SAVEPOINT merge_messages`.execute(trx)
  try {
    await merge(trx, identification, other, hasFailedHere)
    return true
  } catch (err) {
    const isRefused = err instanceof TableError || sqlStateOf(err)?.startsWith('23') === true
    if (!isRefused) throw err
    await sql`ROLLBACK TO SAVEPOINT merge_messages`.execute(trx)
    return false
  }
}

/** Takes the id from the other row before it is set on ours: the unique index allows it in one row at a time. */
async function merge(
  trx: Transaction<Database>,
  identification: Identification,
  other: LockedRow,
  hasFailedHere: boolean,
): Promise<void> {
  const { message_id, wa_message_id } = identification
  const isOthers = hasFailedHere ? sql`true` : isAhead('o', 'm')
  await sql`
    UPDATE chat_messages m SET
      status = CASE WHEN ${isOthers} THEN o.status ELSE m.status END,
      error = CASE WHEN ${isOthers} THEN o.error ELSE m.error END,
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

/**
 * Announces nothing when the row has the id and the status already. `hasFailedHere`: the message failed before the provider named
 * it, so the failure is ours (a refusal, for example), and the id proves that the provider has taken the message after all. A
 * failure that the provider reports comes with the id, and counts more than a `sent` that may be older.
 */
async function setId(
  trx: Transaction<Database>,
  { message_id, wa_message_id, status = 'accepted', sent_at }: Identification,
  hasFailedHere = false,
): Promise<void> {
  await sql`
    WITH identified AS (
      UPDATE chat_messages m SET wa_message_id = ${wa_message_id},
        status = CASE WHEN s.is_ahead THEN ${status} ELSE m.status END,
        error = CASE WHEN s.is_ahead THEN NULL ELSE m.error END,
        sent_at = coalesce(m.sent_at, ${sent_at ?? null}::timestamptz),
        not_before = NULL, updated_at = now()
      FROM (SELECT id, ${hasFailedHere} OR coalesce(wa_status_rank(status), -1) < wa_status_rank(${status}) AS is_ahead
        FROM chat_messages WHERE id = ${message_id}) s
      WHERE m.id = s.id AND (s.is_ahead OR m.wa_message_id IS DISTINCT FROM ${wa_message_id})
      RETURNING m.id, m.conversation_id
    )
    ${announce('message.status', 'identified')}`.execute(trx)
}

/** SQL: whether the status of row `one` comes after that of row `other`. */
function isAhead(one: string, other: string) {
  return sql.raw(`${statusOrder(`${one}.status`)} > ${statusOrder(`${other}.status`)}`)
}
