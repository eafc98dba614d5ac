import { createHash } from 'node:crypto'

/** A wamid, and the suffix of a composed job id: in a group the participant, which is a phone number, too. */
const WAMID = /wamid\.[A-Za-z0-9+/=_-]+(?:\.[A-Za-z0-9._-]+)?/g

/**
 * Masks the wamids in a text for the log, because a wamid is base64 around the contact's phone number. Each becomes `wamid~`
 * and the first 12 hex digits of its SHA-256. So lines about one message can still be matched, and
 * `left(encode(sha256(wa_message_id::bytea), 'hex'), 12)` finds its row. A wamid has enough random digits that the number
 * cannot be computed from the hash. Twilio's SIDs hold no personal data and stay.
 */
export function maskWaMessageId(id: string): string {
  return id.replace(
    WAMID,
    (wamid) => `wamid~${createHash('sha256').update(wamid).digest('hex').slice(0, 12)}`,
  )
}

/** Long enough for every error message of Redis and PostgreSQL; it also limits the work of the patterns below. */
const MAX_TEXT_LENGTH = 500

/** JSON.parse: Unexpected token 'x', ..."the text"... is not valid JSON */
const UNREADABLE_JSON = /\b(?:Unexpected|Expected|Bad|Unterminated)\b[\s\S]* is not valid JSON/
/** PostgreSQL: invalid input syntax for type integer: "the value". The value can contain quotes, so it reaches to the end. */
const VALUE_AT_END = /: "[\s\S]*"(?=$|\n\s+at )/
const QUOTED =
  /(\b(?:relation|table|column|constraint|index|schema|database|role|user|function|parameter|check) )?"([^"]*)(?:"|$)/g
/** A name after one of those words. */
const NAME = /^[A-Za-z_][\w$.-]{0,62}$/
/** A table, column or constraint of this project. */
const IDENTIFIER = /^[a-z]+(?:_[a-z]+)+$/
/** A run of digits that could be a phone number. Inside of a word, digits are part of an id. */
const DIGITS = /(?<![\w~])\d{7,}/g

/**
 * Masks personal data in the text of an error: message ids, runs of digits that could be a phone number, and every quoted
 * text that is not the name of a database object, because PostgreSQL and JSON.parse quote the value that they refuse.
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
