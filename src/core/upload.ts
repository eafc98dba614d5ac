/**
 * Types and sizes of files that may be uploaded to send them.
 *
 * They are Meta's limits for messages; a provider may accept less.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
 */
import type { OutboundMediaType } from './outbound.ts'

/** Below PUBLIC_URL: where providers fetch uploads, under links that each of them makes for itself. */
export const UPLOAD_LINK_PATH = '/media'

type UploadRule = { type: OutboundMediaType; maxBytes: number }

const KB = 1024
const MB = 1024 * KB

const image: UploadRule = { type: 'image', maxBytes: 5 * MB }
/** Limit of an animated sticker; that of a still one is 100 KB. */
const sticker: UploadRule = { type: 'sticker', maxBytes: 500 * KB }
const audio: UploadRule = { type: 'audio', maxBytes: 16 * MB }
const video: UploadRule = { type: 'video', maxBytes: 16 * MB }
const document: UploadRule = { type: 'document', maxBytes: 100 * MB }

const RULES: ReadonlyMap<string, UploadRule> = new Map([
  ['image/jpeg', image],
  ['image/png', image],
  ['image/webp', sticker],
  ['audio/aac', audio],
  ['audio/amr', audio],
  ['audio/mpeg', audio],
  ['audio/mp4', audio],
  ['audio/ogg', audio],
  ['video/3gpp', video],
  ['video/mp4', video],
  ['text/plain', document],
  ['application/pdf', document],
  ['application/msword', document],
  ['application/vnd.ms-excel', document],
  ['application/vnd.ms-powerpoint', document],
  ['application/vnd.openxmlformats-officedocument.presentationml.presentation', document],
  ['application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', document],
  ['application/vnd.openxmlformats-officedocument.wordprocessingml.document', document],
])

export const UPLOAD_MIME_TYPES: readonly string[] = [...RULES.keys()]

/**
 * The type as it is stored and given to providers: in lower case, with `codecs` where it is one plain word, and no other
 * parameter. Meta takes Ogg with Opus only, and a voice message says so: `audio/ogg; codecs=opus`.
 */
export function uploadMimeType(contentType: string): string {
  const [base = '', ...parameters] = contentType.toLowerCase().split(';')
  const codecs = parameters.map((it) => /^\s*codecs\s*=\s*"?([a-z0-9._-]+)"?\s*$/.exec(it)?.[1]).find(Boolean)
  return codecs === undefined ? base.trim() : `${base.trim()}; codecs=${codecs}`
}

/** Undefined: files of this type cannot be sent. `mimeType`: from `uploadMimeType`, as in all functions here. */
export function maxUploadBytes(mimeType: string): number | undefined {
  return ruleOf(mimeType)?.maxBytes
}

function ruleOf(mimeType: string): UploadRule | undefined {
  return RULES.get(mimeType.split(';')[0] ?? '')
}

/** Whether a file of this MIME type can be sent as a message of this type. Any file can be sent as a document. */
export function canBeSentAs(mimeType: string, type: OutboundMediaType): boolean {
  return type === 'document' || ruleOf(mimeType)?.type === type
}
