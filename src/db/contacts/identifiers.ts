/** The identifiers of a contact (phone, user id, parent user id, group) in the form in which they are keys. */
import { createHash } from 'node:crypto'
import type { ContactRef } from '../../core/fact.ts'
import { scrubText } from '../../core/json-text.ts'
import { phoneKey } from '../../core/phone.ts'
import type { ContactIdentifiersTable } from '../contact-tables.ts'

export type IdentifierKind = ContactIdentifiersTable['kind']
export type Identifier = { kind: IdentifierKind; value: string }

/** A btree entry must stay below 2704 bytes; identifiers that the providers document stay below 140. */
const MAX_KEY_BYTES = 512
/** Longer than any real name; the dashboard shows it in one line. */
const MAX_PROFILE_CHARS = 512

/** All refs without any identifier share this one, and so one contact. */
const NO_IDENTIFIER: Identifier = { kind: 'none', value: '' }

/** The identifiers of a ref; at least one. A group is identified by its id alone, and never merged with a person of the ref. */
export function identifiersOf(ref: ContactRef): Identifier[] {
  if (ref.group_id) return [{ kind: 'group', value: indexableText(ref.group_id) }]
  const identifiers: Identifier[] = []
  if (ref.phone) identifiers.push({ kind: 'phone', value: indexableText(phoneKey(ref.phone)) })
  if (ref.user_id) identifiers.push({ kind: 'user_id', value: indexableText(ref.user_id) })
  if (ref.parent_user_id)
    identifiers.push({ kind: 'parent_user_id', value: indexableText(ref.parent_user_id) })
  return identifiers.length === 0 ? [NO_IDENTIFIER] : identifiers
}

/** The identifiers that an identity change can be about; none for a group or for a ref without identifiers. */
export function personalIdentifiersOf(ref: ContactRef): Identifier[] {
  return ref.group_id ? [] : identifiersOf(ref).filter(({ kind }) => kind !== 'none')
}

/** What stays with one person, unlike a phone. */
export function isUserId({ kind }: Identifier): boolean {
  return kind === 'user_id' || kind === 'parent_user_id'
}

export function isPhone({ kind }: Identifier): boolean {
  return kind === 'phone'
}

/** Key of an identifier in a Map. */
export function identifierKey({ kind, value }: Identifier): string {
  return `${kind} ${value}`
}

/**
 * Text that fits a unique index. Text that is too long, or that PostgreSQL cannot store, becomes `sha256:` and a digest, so
 * that different texts stay different. The digest is of the JSON text: UTF-8 would make all lone surrogates equal.
 */
export function indexableText(text: string): string {
  const isStorable = Buffer.byteLength(text) <= MAX_KEY_BYTES && scrubText(text) === text
  if (isStorable) return text
  return `sha256:${createHash('sha256').update(JSON.stringify(text)).digest('hex')}`
}

/** A name, username or phone in the form in which it is stored and shown; undefined for none or an empty one. */
export function profileText(text: string | undefined): string | undefined {
  return text ? scrubText(text.slice(0, MAX_PROFILE_CHARS)) : undefined
}
