/**
 * The feed of changes: each change once, in an order that never changes, for readers that keep a cursor.
 *
 * Identity ids do not become visible in order: a transaction with a lower id may commit later, and a reader beyond that id
 * would never see its row. So the feed is ordered by the id of the writing transaction, and ends below the oldest
 * transaction that still runs (`pg_snapshot_xmin`). Every transaction below that has ended, and every change that becomes
 * visible later is above it. A reader with a cursor misses nothing and sees nothing twice.
 *
 * The price: an open transaction, in any database of the server, delays the feed until it ends. In a database that was
 * restored from a backup transaction ids start again; a cursor that is ahead of them is refused.
 */
import { type Kysely, sql } from 'kysely'
import type { Database } from '../schema.ts'
import { type MessageView, readMessageViews } from './message.ts'

export type ChangeView = {
  /** Where to continue after this change. */
  cursor: string
  /** A ChangeKind (announce.ts), or a word of a later release. */
  kind: string
  /** Where the message is now, which counts from the moment at which conversations were merged. */
  conversation_id: string | null
  message_id: string | null
  /** On `message.merged`: the id of the message that stays. */
  merged_into: string | null
  created_at: string
  /** The message as it is now, which may be later than the change. Null for a change of a conversation, and for a merged message. */
  message: MessageView | null
}

export type ChangePage = {
  items: ChangeView[]
  /** The cursor to continue from: after the last item, or the reader's own when there is no item. */
  next: string
}

/** The feed cannot be read from this cursor. The message is for the API client. */
export class ChangeCursorError extends Error {
  override name = 'ChangeCursorError'
  readonly reason: 'invalid' | 'expired' | 'foreign'

  constructor(reason: ChangeCursorError['reason']) {
    super(CURSOR_PROBLEMS[reason])
    this.reason = reason
  }
}

const CURSOR_PROBLEMS = {
  invalid:
    'This is no cursor of the feed. Send one as it was given, or leave it out to begin with the oldest change.',
  expired:
    'Changes after this cursor have been removed. Read the conversations anew, and the feed from where it is now (after=now).',
  foreign:
    'This cursor is ahead of the database, which was probably restored from a backup. ' +
    'Read the conversations anew, and the feed from where it is now (after=now).',
} as const

const CURSOR = /^(0|[1-9]\d{0,19})\.(0|[1-9]\d{0,18})$/
const MAX_XID = 2n ** 64n - 1n
const MAX_ID = 2n ** 63n - 1n

/**
 * The changes after a cursor, oldest first, at most `limit`. Without a cursor, from the oldest change that is kept.
 * @throws ChangeCursorError
 */
export async function readChanges(
  db: Kysely<Database>,
  { after, limit }: { after?: string | undefined; limit: number },
): Promise<ChangePage> {
  const { rows, present } = await readRows(db, after, limit)
  const views = await readMessageViews(
    db,
    rows.flatMap((row) => row.message_id ?? []),
  )
  const items = rows.map((row) => viewOf(row, views))
  return { items, next: items.at(-1)?.cursor ?? after ?? present }
}

/** The cursor at the end of the feed: every later change comes after it. */
export async function readPresentCursor(db: Kysely<Database>): Promise<string> {
  const { rows } = await sql<{ present: string }>`SELECT ${PRESENT} AS present`.execute(db)
  return rows[0]?.present ?? ''
}

/** The cursor of the newest change that can be read; undefined when there is none. It differs as soon as there is a new one. */
export async function readNewestCursor(db: Kysely<Database>): Promise<string | undefined> {
  const { rows } = await sql<{ cursor: string }>`
    SELECT xid::text || '.' || id AS cursor FROM changes
    WHERE xid < ${XMIN} ORDER BY changes.xid DESC, changes.id DESC LIMIT 1`.execute(db)
  return rows[0]?.cursor
}

const XMIN = sql`pg_snapshot_xmin(pg_current_snapshot())`
const PRESENT = sql<string>`${XMIN}::text || '.0'`

type Row = {
  xid: string
  id: string
  kind: string
  conversation_id: string | null
  message_id: string | null
  merged_into: string | null
  created_at: Date
}

type Checked = { present: string; is_expired: boolean; is_foreign: boolean }

/**
 * Checks the cursor and reads the page in one statement, so that no change can be pruned in between. The index of the primary
 * key gives the rows in order, so only the page is read.
 */
async function readRows(
  db: Kysely<Database>,
  after: string | undefined,
  limit: number,
): Promise<{ rows: Row[]; present: string }> {
  const position = after === undefined ? undefined : parseCursor(after)
  const from = sql`(${position?.xid ?? '0'}::xid8, ${position?.id ?? '0'}::bigint)`
  const { rows } = await sql<Checked & (Row | { xid: null })>`
    SELECT ${PRESENT} AS present, (h.xid, h.id) > ${from} AS is_expired,
      ${position?.xid ?? '0'}::xid8 > pg_snapshot_xmax(pg_current_snapshot()) AS is_foreign,
      c.xid::text AS xid, c.id, c.kind, c.conversation_id, c.message_id, c.merged_into, c.created_at
    FROM changes_horizon h LEFT JOIN LATERAL (
      SELECT * FROM changes WHERE xid < ${XMIN} AND (xid, id) > ${from} ORDER BY xid, id LIMIT ${limit}
    ) c ON true
    ORDER BY c.xid, c.id`.execute(db)
  const [first] = rows
  if (first === undefined)
    throw new Error('changes_horizon has lost its row; run: INSERT INTO changes_horizon DEFAULT VALUES')
  if (position !== undefined && first.is_foreign) throw new ChangeCursorError('foreign')
  if (position !== undefined && first.is_expired) throw new ChangeCursorError('expired')
  return { rows: rows.flatMap((row) => (row.xid === null ? [] : row)), present: first.present }
}

/** @throws ChangeCursorError for text that is no cursor */
function parseCursor(cursor: string): { xid: string; id: string } {
  const [, xid = '', id = ''] = CURSOR.exec(cursor) ?? []
  if (xid === '' || BigInt(xid) > MAX_XID || BigInt(id) > MAX_ID) throw new ChangeCursorError('invalid')
  return { xid, id }
}

function viewOf(row: Row, messages: ReadonlyMap<string, MessageView>): ChangeView {
  const message = messages.get(row.message_id ?? '') ?? null
  return {
    cursor: `${row.xid}.${row.id}`,
    kind: row.kind,
    conversation_id: message?.conversation_id ?? row.conversation_id,
    message_id: row.message_id,
    merged_into: row.merged_into,
    created_at: row.created_at.toISOString(),
    message: messages.get(row.message_id ?? '') ?? null,
  }
}
