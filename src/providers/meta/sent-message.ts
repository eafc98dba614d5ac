/**
 * Echoes of messages that another app has sent through the API, as Meta Business Agent does.
 *
 * `message` is the request of that send, `template` and `flow` beside it are definitions. Echoes of the phone app have the
 * fields of a message in the echo itself.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/standby
 */
import { phoneDigits } from '../../core/phone.ts'
import { idText, isObject, type JsonObject } from './json-reader.ts'

/** The echo in the form of a message of the phone app, whichever of the two it is. */
export function sentMessage(echo: JsonObject): JsonObject {
  const { message, id, timestamp, ...definitions } = echo
  if (!isObject(message)) return echo
  return { ...definitions, ...message, ...addressee(message), id, timestamp }
}

/** A send names a person by phone number (`to`) or user id (`recipient`); echoes were seen with the number in both. */
function addressee({ to, to_user_id, recipient }: JsonObject): JsonObject {
  const isUserId = phoneDigits(idText(recipient) ?? '') === undefined
  return { to: to ?? recipient, to_user_id: to_user_id ?? (isUserId ? recipient : undefined) }
}
