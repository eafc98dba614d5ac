import { createHash } from 'node:crypto'

/** A wamid, and what a composed job id carries after it (a group's participant is a phone number too). */
const WAMID = /wamid\.[A-Za-z0-9+/=_-]+(?:\.[A-Za-z0-9._-]+)?/g

/**
 * A wa_message_id, or any text with wamids in it, fit for the log: Meta's wamid is base64 around the contact's phone
 * number. Each becomes `wamid~` and the first 12 hex digits of its SHA-256, so that lines about one message still belong
 * together, and `left(encode(sha256(wa_message_id::bytea), 'hex'), 12)` finds its row. A wamid has enough random digits
 * that the number cannot be guessed back. Twilio's SIDs say nothing of a person and stay.
 */
export function maskWaMessageId(id: string): string {
  return id.replace(
    WAMID,
    (wamid) => `wamid~${createHash('sha256').update(wamid).digest('hex').slice(0, 12)}`,
  )
}
