import type { MediaFact } from '../../core/fact.ts'
import { present } from '../present.ts'
import { type Fields, firstOf } from './fields.ts'

const MEDIA_FIELD = /^Media(?:Url|ContentType)(\d{1,3})$/
const MEDIA_SID = /\/Media\/(ME[0-9a-zA-Z]+)(?:[/?#]|$)/
/** Twilio has no field for the name of a document: without a caption it arrives as the text. */
const FILENAME = /^[^/\\\p{Cc}]{1,250}\.[A-Za-z0-9]{1,8}$/u

/** The attachments in Twilio's order: MediaUrl0, MediaContentType0, MediaUrl1 … NumMedia is not needed to find them. */
export function readMedia(fields: Fields): MediaFact[] {
  const indexes = new Set<number>()
  for (const name of fields.keys()) {
    const index = MEDIA_FIELD.exec(name)?.[1]
    if (index !== undefined) indexes.add(Number(index))
  }
  return [...indexes].sort((a, b) => a - b).map((index) => readAttachment(fields, index))
}

/** WhatsApp's word for an attachment, by its MIME type. */
export function mediaType({ mime_type = '' }: MediaFact): string {
  const type = mime_type.toLowerCase()
  if (type.startsWith('image/webp')) return 'sticker'
  if (/^text\/(?:x-)?vcard|^text\/directory/.test(type)) return 'contacts'
  return /^(image|audio|video)\//.exec(type)?.[1] ?? 'document'
}

function readAttachment(fields: Fields, index: number): MediaFact {
  const url = fields.get(`MediaUrl${index}`)
  const attachment = present<MediaFact>({
    id: url === undefined ? undefined : MEDIA_SID.exec(url)?.[1],
    url,
    mime_type: fields.get(`MediaContentType${index}`),
    filename: firstOf(fields, [`MediaFilename${index}`, `MediaFileName${index}`]),
  })
  if (attachment.filename !== undefined || index > 0 || mediaType(attachment) !== 'document')
    return attachment
  const body = fields.get('Body')
  return body !== undefined && FILENAME.test(body) ? { ...attachment, filename: body } : attachment
}
