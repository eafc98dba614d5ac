/** What WhatsApp accepts in a message, whichever provider sends it. Lengths are in characters, see `countCharacters`. */

export const MAX_TEXT_LENGTH = 4096
export const MAX_CAPTION_LENGTH = 1024
export const MAX_FILENAME_LENGTH = 240
/** One variable of a content template. https://www.twilio.com/docs/api/errors/21658 */
export const MAX_VARIABLE_LENGTH = 1600

/**
 * Unicode code points, as JSON Schema counts: a letter outside the Basic Multilingual Plane and most emoji are one, an emoji that is
 * put together of several (a family, a flag) as many. The providers do not say how they count. No other count is lower, so a
 * text that is too long by this one is too long for them; one that only they find too long, they refuse.
 */
export function countCharacters(text: string): number {
  return text.length - (text.match(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g)?.length ?? 0)
}

/** A business-scoped user id: country, then up to 128 letters and digits; a parent user id has `ENT.` between them. */
export const USER_ID = /^[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}$/
