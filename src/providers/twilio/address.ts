/**
 * Twilio's addresses: `whatsapp:+15551230001`, since 2026 also `whatsapp:US.13491208655302741918` for a contact whose
 * number is hidden behind a username, and without prefix for SMS: `+15551230001`, `384387`, `ACME`.
 */
import type { ContactRef } from '../../core/fact.ts'
import { scrubText } from '../../core/json-text.ts'
import { phoneDigits } from '../../core/phone.ts'

/** Longest address taken as one, in bytes: as a key it has to fit into an index. */
export const MAX_ADDRESS_BYTES = 512

/** Business-scoped user id: country, then up to 128 letters and digits; a parent id has `ENT.` between. */
const USER_ID = /^[A-Z]{2}\.[A-Za-z0-9]{1,128}$/
const PARENT_USER_ID = /^[A-Z]{2}\.ENT\.[A-Za-z0-9]{1,128}$/

export type Identifiers = Pick<ContactRef, 'phone' | 'user_id' | 'parent_user_id'>

/** The phone number or business-scoped user id in an address; nothing where it has another form. */
export function readAddress(address: string): Identifiers {
  const phone = phoneDigits(address)
  return phone === undefined ? readUserId(address) : { phone }
}

export function readUserId(address: string): Identifiers {
  const id = withoutChannel(address)
  if (USER_ID.test(id)) return { user_id: id }
  return PARENT_USER_ID.test(id) ? { parent_user_id: id } : {}
}

/** An address of an unknown form identifies the contact as it stands, so that the contact has a conversation of its own. */
export function readOtherAddress(address: string): Identifiers {
  const text = withoutChannel(scrubText(address)).trim()
  return /[\p{L}\p{N}]/u.test(text) ? { user_id: text } : {}
}

export function isAddressTooLong(address: string | undefined): boolean {
  return address !== undefined && Buffer.byteLength(address) > MAX_ADDRESS_BYTES
}

/** Our own address as conversations know it: digits where it is a number, else its text (a sender name, a service). */
export function readBusinessNumber(address: string | undefined): string {
  if (address === undefined) return ''
  return phoneDigits(address) ?? withoutChannel(scrubText(address)).trim()
}

function withoutChannel(address: string): string {
  return address.replace(/^whatsapp:/i, '')
}
