/** The type of a message, and the object that holds what is particular to it. */
import { isObject, type JsonObject, own, text } from './json-reader.ts'

/** Types whose body has their name; a message without `type` is of the first that it has a body for. */
export const TYPES_WITH_BODY = [
  'text',
  'image',
  'video',
  'audio',
  'voice',
  'document',
  'sticker',
  'location',
  'contacts',
  'interactive',
  'button',
  'reaction',
  'order',
  'system',
  'edit',
  'revoke',
  'unsupported',
]

/** `message.type`, also one that does not exist yet; `unknown` where the message does not say it. */
export function messageType(message: JsonObject): string {
  return text(message.type) ?? TYPES_WITH_BODY.find((type) => Object.hasOwn(message, type)) ?? 'unknown'
}

export function messageBody(message: JsonObject): unknown {
  const type = messageType(message)
  // Voice notes were a type of their own before they became audio with a flag; both spellings of the body were seen.
  const isVoice = type === 'voice' && !isObject(message.voice)
  return own(message, isVoice ? 'audio' : type)
}

/** The new version of an edited message; any other message itself. */
export function editedMessage(message: JsonObject): JsonObject {
  const edit = messageType(message) === 'edit' ? own(message, 'edit') : undefined
  return isObject(edit) && isObject(edit.message) ? edit.message : message
}
