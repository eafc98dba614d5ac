/**
 * What a `system` message says of identities: a person changed the phone number, and with it the BSUID.
 *
 * The old identity is the sender. Where Meta leaves it out (people with a username), only the text still names it:
 * "User <name> changed from <old> to <new>". The name is chosen by the person, so the text is read from its end, and
 * believed only if what it calls new is what `system` calls new.
 */
import type { ContactRef, IdentityChange } from '../../core/fact.ts'
import { present } from '../present.ts'
import { contactRef, identifiersOf, isIdentified } from './identity.ts'
import { first, type JsonObject, object, text } from './json-reader.ts'

const CHANGED_FROM_TO = /\bfrom (\S+) to (\S+)$/

/** The identity that a person has from now on, if the message tells one. */
export function newIdentity(message: JsonObject): ContactRef | undefined {
  if (message.type !== 'system') return undefined
  const { wa_id, new_wa_id, user_id, parent_user_id } = object(message.system)
  const ref = contactRef({ address: first(wa_id, new_wa_id), user_id, parent_user_id })
  return isIdentified(ref) ? ref : undefined
}

/** The identity that the person had: the sender, or what older and newer forms of the message say in its place. */
export function oldIdentity(message: JsonObject, sender: ContactRef): ContactRef {
  const to = newIdentity(message)
  if (to === undefined) return sender
  const { customer, previous_user_id, previous_parent_user_id, body } = object(message.system)
  const previous = { user_id: previous_user_id, parent_user_id: previous_parent_user_id }
  const named = contactRef({ address: customer, ...previous })
  return withoutShared({ ...named, ...sender }, to) ?? oldIdentityInText(body, to) ?? sender
}

/** `sender`: who the message is from. Nothing where old, new or the time is missing, or where both are the same. */
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

/** What of the old identity is not the new one as well; undefined where nothing is left. */
function withoutShared(from: ContactRef, to: ContactRef): ContactRef | undefined {
  const old = present<ContactRef>({
    ...from,
    phone: from.phone === to.phone ? undefined : from.phone,
    user_id: from.user_id === to.user_id ? undefined : from.user_id,
    parent_user_id: from.parent_user_id === to.parent_user_id ? undefined : from.parent_user_id,
  })
  return isIdentified(old) ? old : undefined
}
