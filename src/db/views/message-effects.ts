/**
 * Reactions, edits and revokes: messages that change how another message, their target, is shown.
 *
 * The effects are derived when the target is read, from all of them in the order of the provider's time. So the order in which
 * they arrive does not matter, and one that arrives before its target takes effect as soon as the target is stored.
 */
import { type Kysely, sql } from 'kysely'
import { EFFECT_TYPES, type EffectType } from '../../core/fact.ts'
import type { Database } from '../schema.ts'
import { type MediaColumns, type MediaView, mediaOf } from './media.ts'

export type ReactionView = {
  /** Id of the reaction's own row. */
  message_id: string
  emoji: string
  direction: 'inbound' | 'outbound'
  /** In a group: the contact who reacted. Null in a conversation with one person, and for our own reactions. */
  sender_id: string | null
  status: string | null
  reacted_at: string
}

export type MessageEffects = {
  reactions: ReactionView[]
  /** Content of the latest edit that has one. */
  edit?: { content: string | null; media: MediaView[] }
  /** Time of the latest edit, also of one whose content the provider does not send. */
  edited_at?: string
  /** Set when the message was revoked for everybody; that cannot be undone. */
  revoked_at?: string
}

type EffectRow = MediaColumns & {
  id: string
  target_wa_message_id: string
  message_type: EffectType | 'unsupported'
  direction: 'inbound' | 'outbound'
  sender_id: string | null
  content: string | null
  status: string | null
  happened_at: Date
}

/** SQL: whether row `alias` changes how its target is shown. One whose sending failed does not. */
export function isEffect(alias: string) {
  return sql`(${hasEffectType(alias)}
    AND ${sql.ref(`${alias}.target_wa_message_id`)} IS NOT NULL
    AND coalesce(${sql.ref(`${alias}.status`)}, '') NOT IN ('failed', 'undelivered'))`
}

/** SQL: whether row `alias` is of a type that acts on another message. */
export function hasEffectType(alias: string) {
  return sql`${sql.ref(`${alias}.message_type`)} IN (${sql.join(EFFECT_TYPES.map((type) => sql.lit(type)))})`
}

/** SQL: an edit whose content Meta does not send. It stays an item of the list, which shows that there was an edit. */
function isUnreadableEdit(alias: string) {
  return sql`(${sql.ref(`${alias}.message_type`)} = 'unsupported'
    AND ${sql.ref(`${alias}.payload`)} #>> '{unsupported,type}' = 'edit')`
}

/** SQL: the time by which messages are sorted, the provider's when it is known. The index has the same expression. */
export function timeOf(alias: string) {
  return sql`coalesce(${sql.ref(`${alias}.sent_at`)}, ${sql.ref(`${alias}.received_at`)}, ${sql.ref(`${alias}.created_at`)})`
}

/** Effects by wa_message_id of the target. Most messages have none, and no entry. */
export async function readEffects(
  db: Kysely<Database>,
  waMessageIds: readonly string[],
): Promise<Map<string, MessageEffects>> {
  const effects = new Map<string, MessageEffects>()
  if (waMessageIds.length === 0) return effects
  const { rows } = await sql<EffectRow>`
    SELECT e.id, e.target_wa_message_id, e.message_type, e.direction, coalesce(s.merged_into, s.id) AS sender_id,
      e.content, e.status, ${timeOf('e')} AS happened_at, e.media_id, e.media_url, e.media_mime_type, e.media_sha256, e.media_filename,
      e.media_voice, e.media
    FROM chat_messages e LEFT JOIN contacts s ON s.id = e.sender_contact_id
    WHERE e.target_wa_message_id = ANY (${waMessageIds}::text[]) AND (${isEffect('e')} OR ${isUnreadableEdit('e')})
    ORDER BY ${timeOf('e')}, e.id`.execute(db)
  for (const [target, inOrder] of Map.groupBy(rows, (row) => row.target_wa_message_id))
    effects.set(target, effectsOf(inOrder))
  return effects
}

function effectsOf(inOrder: readonly EffectRow[]): MessageEffects {
  const edit = inOrder.findLast((row) => row.message_type === 'edit' && hasContent(row))
  const lastEdit = inOrder.findLast(({ message_type }) => ['edit', 'unsupported'].includes(message_type))
  const revoke = inOrder.find((row) => row.message_type === 'revoke')
  return {
    reactions: reactionsOf(inOrder.filter((row) => row.message_type === 'reaction')),
    ...(edit && { edit: { content: edit.content, media: mediaOf(edit) } }),
    ...(lastEdit && { edited_at: lastEdit.happened_at.toISOString() }),
    ...(revoke && { revoked_at: revoke.happened_at.toISOString() }),
  }
}

/** False for an edit whose content the provider did not send. */
function hasContent(row: EffectRow): boolean {
  return row.content !== null || mediaOf(row).length > 0
}

/** The latest reaction of each person. One without an emoji removes the reaction. */
function reactionsOf(inOrder: readonly EffectRow[]): ReactionView[] {
  const latest = new Map<string, EffectRow>()
  for (const row of inOrder) {
    const who = row.direction === 'outbound' ? 'us' : (row.sender_id ?? 'contact')
    latest.delete(who)
    latest.set(who, row)
  }
  return [...latest.values()].flatMap((row) => {
    const { id, content, direction, sender_id, status, happened_at } = row
    if (content === null || content === '') return []
    return [
      { message_id: id, emoji: content, direction, sender_id, status, reacted_at: happened_at.toISOString() },
    ]
  })
}
