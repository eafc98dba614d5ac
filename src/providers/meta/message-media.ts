/** Media in a message: ids to download by, and what Meta says of the file. */
import type { MediaFact } from '../../core/fact.ts'
import { present } from '../present.ts'
import { first, type JsonObject, object, scalar, text } from './json-reader.ts'
import { editedMessage, messageBody, messageType } from './message-type.ts'

const MEDIA_TYPES = ['image', 'video', 'audio', 'voice', 'document', 'sticker']

/** None or one. A type that is not documented yet counts as media when its body has a MIME type. */
export function messageMedia(message: JsonObject): MediaFact[] {
  const edited = editedMessage(message)
  const type = messageType(edited)
  const body = object(messageBody(edited))
  if (!MEDIA_TYPES.includes(type) && text(body.mime_type) === undefined) return []
  const media = present<MediaFact>({
    id: scalar(body.id),
    url: first(text(body.url), text(body.link)),
    mime_type: text(body.mime_type),
    sha256: text(body.sha256),
    filename: text(body.filename),
    voice: type === 'voice' || body.voice === true ? true : undefined,
  })
  return Object.keys(media).length > 0 ? [media] : []
}
