/** What WhatsApp accepts in a message, whichever provider sends it. Lengths are in characters. */

export const MAX_TEXT_LENGTH = 4096
export const MAX_CAPTION_LENGTH = 1024
export const MAX_FILENAME_LENGTH = 240

/** A business-scoped user id: country, then up to 128 letters and digits; a parent user id has `ENT.` between them. */
export const USER_ID = /^[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}$/
