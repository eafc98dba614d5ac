/** What a ContactRef is found by: phone, user id, parent user id, group, in the form in which they are keys. */
import { createHash } from 'node:crypto'
import type { ContactRef } from '../../core/fact.ts'
import { scrubText } from '../../core/json-text.ts'
import { phoneKey } from '../../core/phone.ts'
import type { ContactIdentifiersTable } from '../schema.ts'

export type IdentifierKind = ContactIdentifiersTable['kind']
export type Identifier = { kind: IdentifierKind; value: string }

/** A btree entry has to stay below 2704 bytes; what a provider documents stays below 140. */
const MAX_KEY_BYTES = 512
/** Nobody's name is longer, and the dashboard shows it in one line. */
const MAX_PROFILE_CHARS = 512

/** The one contact of everything that came without any identifier. */
const NOBODY: Identifier = { kind: 'none', value: '' }

/**
 * The identifiers of a ref; never empty. A group is identified by its id alone, and never becomes one with a person who
 * stands in the same ref.
 */
export function identifiersOf(ref: ContactRef): Identifier[] {
  if (ref.group_id) return [{ kind: 'group', value: keyText(ref.group_id) }]
  const identifiers: Identifier[] = []
  if (ref.phone) identifiers.push({ kind: 'phone', value: keyText(phoneKey(ref.phone)) })
  if (ref.user_id) identifiers.push({ kind: 'user_id', value: keyText(ref.user_id) })
  if (ref.parent_user_id) identifiers.push({ kind: 'parent_user_id', value: keyText(ref.parent_user_id) })
  return identifiers.length === 0 ? [NOBODY] : identifiers
}

/** The identifiers of a person, by which one person can become another; empty for groups and for nobody. */
export function personalIdentifiersOf(ref: ContactRef): Identifier[] {
  return ref.group_id ? [] : identifiersOf(ref).filter(({ kind }) => kind !== 'none')
}

/**
 * Text that fits a unique index. What is too long, or has characters that PostgreSQL cannot store, is hashed, so that
 * different texts stay different; as JSON text, because UTF-8 would make one of all lone surrogates.
 */
export function keyText(text: string): string {
  const isStorable = Buffer.byteLength(text) <= MAX_KEY_BYTES && scrubText(text) === text
  if (isStorable) return text
  return `sha256:${createHash('sha256').update(JSON.stringify(text)).digest('hex')}`
}

/** A name, username or phone as it is shown, or undefined where there is none. */
export function profileText(text: string | undefined): string | undefined {
  return text ? scrubText(text.slice(0, MAX_PROFILE_CHARS)) : undefined
}
