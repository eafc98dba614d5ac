/** Which other message a message answers, or acts upon. */
import { first, type JsonObject, object } from './json-reader.ts'
import { messageId } from './message-id.ts'
import { editedMessage, messageType } from './message-type.ts'

/** The context that Meta's documentation shows for an edit that is no answer. */
const NO_MESSAGE = 'M0'

export function repliedMessageId(message: JsonObject): string | undefined {
  const context = first(editedMessage(message).context, message.context)
  const { id: answered, message_id } = object(context)
  const id = messageId(answered) ?? messageId(message_id)
  return id === NO_MESSAGE ? undefined : id
}

/** The message that a reaction, edit or revoke is about, also of an `unsupported` one that still names it. */
export function targetMessageId(message: JsonObject): string | undefined {
  const type = messageType(message)
  if (type === 'reaction') return messageId(object(message.reaction).message_id)
  if (!['edit', 'revoke', 'unsupported', 'unknown'].includes(type)) return undefined
  const bodies = [message.edit, message.revoke, message.unsupported].map(object)
  return first(...bodies.map((body) => messageId(body.original_message_id)))
}
