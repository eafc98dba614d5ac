/**
 * Changes of identity in `system` messages: a contact changed the phone number, and with it the BSUID.
 *
 * The old identity is the sender. Where Meta leaves it out (contacts with a username), only the text names it:
 * "User <name> changed from <old> to <new>". Contacts choose their names, so the text is read from its end, and
 * counts only if its new number is the one in `system`.
 */
import type { ContactRef, IdentityChange } from '../../core/fact.ts'
import { present } from '../present.ts'
import { contactRef, identifiersOf, isIdentified } from './identity.ts'
import { first, type JsonObject, object, text } from './json-reader.ts'

const CHANGED_FROM_TO = /\bfrom (\S+) to (\S+)$/

/** The contact's new identity, if the message names one. */
export function newIdentity(message: JsonObject): ContactRef | undefined {
  if (message.type !== 'system') return undefined
  const { wa_id, new_wa_id, user_id, parent_user_id } = object(message.system)
  const ref = contactRef({ address: first(wa_id, new_wa_id), user_id, parent_user_id })
  return isIdentified(ref) ? ref : undefined
}

/** The contact's old identity: the sender, or the fields that older and newer forms of the message have instead. */
export function oldIdentity(message: JsonObject, sender: ContactRef): ContactRef {
  const to = newIdentity(message)
  if (to === undefined) return sender
  const { customer, previous_user_id, previous_parent_user_id, body } = object(message.system)
  const previous = { user_id: previous_user_id, parent_user_id: previous_parent_user_id }
  const named = contactRef({ address: customer, ...previous })
  return withoutShared({ ...named, ...sender }, to) ?? oldIdentityInText(body, to) ?? sender
}

/** Undefined where the old identity, the new one or the time is missing, or where both identities are the same. */
export function identityChange(
  message: JsonObject,
  sender: ContactRef,
  changed_at: Date | undefined,
): IdentityChange | undefined {
  const to = newIdentity(message)
  const from = to && withoutShared(oldIdentity(message, sender), to)
  return to && from && changed_at ? { from, to, changed_at } : undefined
}

function oldIdentityInText(body: unknown, to: ContactRef): ContactRef | undefined {
  const [, before, after] = CHANGED_FROM_TO.exec(text(body)?.trim() ?? '') ?? []
  return after !== undefined && identifiersOf(to).includes(after)
    ? contactRef({ address: before })
    : undefined
}

/** The identifiers of the old identity that the new one does not have; undefined where there are none. */
function withoutShared(from: ContactRef, to: ContactRef): ContactRef | undefined {
  const old = present<ContactRef>({
    ...from,
    phone: from.phone === to.phone ? undefined : from.phone,
    user_id: from.user_id === to.user_id ? undefined : from.user_id,
    parent_user_id: from.parent_user_id === to.parent_user_id ? undefined : from.parent_user_id,
  })
  return isIdentified(old) ? old : undefined
}
