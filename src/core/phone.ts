/**
 * Phone numbers as keys.
 *
 * WhatsApp writes some mobile numbers in two ways, so that "the user's ID and phone number may not always match" (Meta's
 * reference): Brazil with and without the ninth digit, Mexico with 52 or 521, Argentina with 54 or 549. A conversation
 * must not fork over that. The key is for look-ups only; the number as the provider wrote it is shown and sent to.
 */

const DIGITS = /^\d{3,32}$/

/** Digits of a phone number in any notation (`+1 555 …`, `whatsapp:+1555…`); undefined for other text. */
export function phoneDigits(text: string): string | undefined {
  if (DIGITS.test(text)) return text
  const digits = text.replace(/^whatsapp:/i, '').replace(/[\s().+-]/g, '')
  return DIGITS.test(digits) ? digits : undefined
}

/** The same key for all spellings of a number. `digits`: country code and number, digits only. */
export function phoneKey(digits: string): string {
  // All countries below begin with 5.
  if (!digits.startsWith('5')) return digits
  const brazil = /^55(\d{2})9([6-9]\d{7})$/.exec(digits)
  if (brazil) return `55${brazil[1]}${brazil[2]}`
  const mexico = /^521(\d{10})$/.exec(digits)
  if (mexico) return `52${mexico[1]}`
  const argentina = /^549(\d{10})$/.exec(digits)
  if (argentina) return `54${argentina[1]}`
  return digits
}
