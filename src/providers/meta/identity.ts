/**
 * Contacts in webhooks.
 *
 * A contact has a phone number, a business-scoped user id (BSUID), a parent BSUID, or several of them; which of them a
 * webhook shows changes with the contact's settings and with time, and a BSUID also turns up in the places of a phone
 * number (`from`, `wa_id`). So the form of an address says what it is, never its place.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
 */
import type { ContactRef } from '../../core/fact.ts'
import { phoneDigits, phoneKey } from '../../core/phone.ts'
import { present } from '../present.ts'
import { first, idText, type JsonObject, object, scalar, text } from './json-reader.ts'

/** The identifiers of one contact as they stand in an item. `address`: a phone number, or a BSUID in its place. */
export type UnreadContact = { address?: unknown; user_id?: unknown; parent_user_id?: unknown }

/** Country code, `.ENT.`, up to 128 letters and digits. */
const PARENT_USER_ID = /^[A-Z]{2}\.ENT\.[A-Za-z0-9]{1,128}$/
/** The longest documented is 135 characters; longer ones would not fit an index. */
const MAX_IDENTIFIER_LENGTH = 256

export function senderOf(item: JsonObject): UnreadContact {
  return { address: item.from, user_id: item.from_user_id, parent_user_id: item.from_parent_user_id }
}

export function addresseeOf(item: JsonObject): UnreadContact {
  return { address: item.to, user_id: item.to_user_id, parent_user_id: item.to_parent_user_id }
}

/** Meta renamed `parent_recipient_user_id` in May 2026; some examples say `parent_user_id`. */
export function recipientOf(status: JsonObject): UnreadContact {
  return {
    address: status.recipient_id,
    user_id: status.recipient_user_id,
    parent_user_id: first(
      scalar(status.recipient_parent_user_id),
      scalar(status.parent_recipient_user_id),
      scalar(status.parent_user_id),
    ),
  }
}

/** The member of a group that a status is about. */
export function participantOf(status: JsonObject): UnreadContact {
  return {
    address: status.recipient_participant_id,
    user_id: status.recipient_participant_user_id,
    parent_user_id: first(
      scalar(status.recipient_participant_parent_user_id),
      scalar(status.parent_recipient_participant_user_id),
    ),
  }
}

/** An entry of `contacts`, and every other object that names a contact by `wa_id` and `user_id`. */
export function contactOf(contact: JsonObject): UnreadContact {
  return { address: contact.wa_id, user_id: contact.user_id, parent_user_id: contact.parent_user_id }
}

/** Everything that identifies a contact, from an item and from the entry of `contacts` that belongs to it. */
export function contactRef(unread: UnreadContact, contact: JsonObject = {}): ContactRef {
  const known = contactOf(contact)
  const addresses = [identifier(unread.address), identifier(known.address)]
  const userIds = [identifier(unread.user_id), identifier(known.user_id), ...addresses.filter(isNoPhone)]
  const profile = object(contact.profile)
  return present<ContactRef>({
    phone: first(...addresses.map((address) => address && phoneDigits(address))),
    user_id: userIds.find((id) => id !== undefined && !PARENT_USER_ID.test(id)),
    parent_user_id: first(
      identifier(unread.parent_user_id),
      identifier(known.parent_user_id),
      userIds.find((id) => id !== undefined && PARENT_USER_ID.test(id)),
    ),
    name: text(profile.name),
    username: first(text(profile.username), text(contact.username))?.replace(/^@(?=.)/, ''),
  })
}

/** Whether an entry of `contacts` has an identifier or a name. */
export function describesContact(contact: JsonObject): boolean {
  const { address, user_id, parent_user_id } = contactOf(contact)
  const { name, username } = object(contact.profile)
  return (
    [address, user_id, parent_user_id].some((id) => identifier(id) !== undefined) ||
    [name, username, contact.username].some((word) => text(word) !== undefined)
  )
}

/** Keys that two descriptions of one contact share, whichever way a phone number is spelled. */
export function contactKeys(unread: UnreadContact): string[] {
  const address = identifier(unread.address)
  const digits = address && phoneDigits(address)
  const ids = [identifier(unread.user_id), identifier(unread.parent_user_id), digits ? undefined : address]
  const keys = ids.filter((id) => id !== undefined).map((id) => `user ${id}`)
  return digits ? [`phone ${phoneKey(digits)}`, ...keys] : keys
}

/** Whether a ref has an identifier, and not only a name. */
export function isIdentified(ref: ContactRef): boolean {
  return identifiersOf(ref).length > 0
}

export function identifiersOf(ref: ContactRef): string[] {
  return [ref.phone, ref.user_id, ref.parent_user_id, ref.group_id].filter((id) => id !== undefined)
}

/** An id of a contact or a group. */
export function identifier(value: unknown): string | undefined {
  const id = idText(value)
  return id !== undefined && id.length <= MAX_IDENTIFIER_LENGTH ? id : undefined
}

function isNoPhone(address: string | undefined): boolean {
  return address !== undefined && phoneDigits(address) === undefined
}
