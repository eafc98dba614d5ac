/** Events that are no message and no status: kept whole, and read for names of contacts and changes of their identities. */
import type { WebhookEvent } from '../../core/event.ts'
import type { ContactRef, IdentityChange, OtherFact } from '../../core/fact.ts'
import { present } from '../present.ts'
import type { MetaContext } from './envelope.ts'
import { controlChange } from './handover.ts'
import { HANDOVER_FIELD } from './handover-number.ts'
import { contactOf, contactRef, identifiersOf, isIdentified } from './identity.ts'
import { first, isObject, type JsonObject, list, object, text, unixTime } from './json-reader.ts'

export function otherFact(event: WebhookEvent, payload: unknown, context: MetaContext): OtherFact {
  const value = object(payload)
  const change =
    context.list === 'user_id_update' ? userIdChange(value, context, event.received_at) : undefined
  return present<OtherFact>({
    kind: 'other',
    identities: change ? [change] : [],
    contacts: contactsIn(value, context).filter(isTelling),
    control: event.field === HANDOVER_FIELD ? controlChange(event, value, context) : undefined,
  })
}

/** `user_id_update`: `user_id` and `parent_user_id` are objects here, where contacts have strings. */
function userIdChange(
  update: JsonObject,
  context: MetaContext,
  received_at: number,
): IdentityChange | undefined {
  const user_id = object(update.user_id)
  const parent_user_id = object(update.parent_user_id)
  const from = contactRef({ user_id: user_id.previous, parent_user_id: parent_user_id.previous })
  const current = { user_id: user_id.current, parent_user_id: parent_user_id.current }
  const to = contactRef({ address: update.wa_id, ...current }, context.contact)
  if (!isIdentified(from) || !isIdentified(to)) return undefined
  return { from, to, changed_at: unixTime(update.timestamp) ?? new Date(received_at) }
}

function contactsIn(value: JsonObject, context: MetaContext): ContactRef[] {
  if (context.list === 'state_sync') return [addressBookContact(value)]
  if (context.list === 'groups') return participants(value).map(participantRef)
  if (context.list === 'user_preferences') return [contactRef(contactOf(value), context.contact)]
  const known = context.contact === undefined ? list(value.contacts) : [context.contact]
  return known.filter(isObject).map((contact) => contactRef(contactOf(contact), contact))
}

/** An entry of the phone app's address book; a removed one says nothing about the contact. */
function addressBookContact({ action, contact }: JsonObject): ContactRef {
  if (action === 'remove') return {}
  const { phone_number, user_id, parent_user_id, full_name, first_name, username } = object(contact)
  const ref = contactRef({ address: phone_number, user_id, parent_user_id }, { username })
  return present<ContactRef>({ ...ref, name: first(text(full_name), text(first_name)) })
}

function participants(group: JsonObject): JsonObject[] {
  const { added_participants, removed_participants, failed_participants } = group
  const listed = [added_participants, removed_participants, failed_participants].flatMap(list)
  // A request to join names its one contact in the group's own fields.
  return [...listed, group].filter(isObject)
}

function participantRef(participant: JsonObject): ContactRef {
  return contactRef(contactOf(participant), participant)
}

/** A contact with one identifier and no name adds nothing: its row is made when it writes. */
function isTelling(ref: ContactRef): boolean {
  const identifiers = identifiersOf(ref).length
  return identifiers > 1 || (identifiers === 1 && (ref.name !== undefined || ref.username !== undefined))
}
