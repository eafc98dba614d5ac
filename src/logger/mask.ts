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

/** Long enough for every message of a store; also bounds what the patterns below have to look through. */
const MAX_TEXT_LENGTH = 500

/** JSON.parse: Unexpected token 'x', ..."the text"... is not valid JSON */
const UNREADABLE_JSON = /\b(?:Unexpected|Expected|Bad|Unterminated)\b[\s\S]* is not valid JSON/
/** PostgreSQL: invalid input syntax for type integer: "the value". There may be quotes in it, so it ends with the text. */
const VALUE_AT_END = /: "[\s\S]*"(?=$|\n\s+at )/
const QUOTED =
  /(\b(?:relation|table|column|constraint|index|schema|database|role|user|function|parameter|check) )?"([^"]*)(?:"|$)/g
/** What those words are followed by. */
const NAME = /^[A-Za-z_][\w$.-]{0,62}$/
/** A table, column or constraint of this project. */
const IDENTIFIER = /^[a-z]+(?:_[a-z]+)+$/
/** Could be a phone number. Inside of a word it is a part of an id. */
const DIGITS = /(?<![\w~])\d{7,}/g

/**
 * Text of an error without people's data, as far as it has a form: message ids, runs of digits that could be a phone
 * number, and everything in quotes that is not the name of a thing, because PostgreSQL and JSON.parse quote the value that
 * they refuse.
 */
export function maskText(text: string, maxLength = MAX_TEXT_LENGTH): string {
  const masked = text
    .slice(0, maxLength)
    .replace(UNREADABLE_JSON, 'text is not valid JSON')
    .replace(VALUE_AT_END, ': "…"')
    .replace(QUOTED, (quoted, kind: string | undefined, inner: string) =>
      (kind === undefined ? IDENTIFIER : NAME).test(inner) ? quoted : `${kind ?? ''}"…"`,
    )
    .replace(DIGITS, '…')
  return maskWaMessageId(masked)
}
