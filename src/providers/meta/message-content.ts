/**
 * The readable text of a message: the column `content`. The provider's whole object is stored beside it, so this leaves out
 * what does not help reading. A reaction that was taken back has no content.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
 */
import { parseExact } from '../../core/json-text.ts'
import { first, isObject, type JsonObject, list, object, own, scalar, text } from './json-reader.ts'
import { editedMessage, messageBody, messageType } from './message-type.ts'
import { serialise } from './nesting.ts'

/** The name in a vCard, which stands alone where Meta has not read the card. */
const VCARD_NAME = /^FN(?:;[^:\r\n]*)?:(.*)$/im

type Reader = (body: unknown, message: JsonObject) => string | undefined

const READERS: Readonly<Record<string, Reader>> = {
  text: (body) => first(text(object(body).body), text(body)),
  image: caption,
  video: caption,
  audio: caption,
  voice: caption,
  document: caption,
  sticker: caption,
  location,
  contacts,
  interactive,
  button: (body) => first(text(object(body).text), text(object(body).payload)),
  reaction: (body) => text(object(body).emoji),
  order,
  system: (body) => text(object(body).body),
  revoke: () => undefined,
  unsupported,
  unknown: unsupported,
  errors: unsupported,
}

export function messageContent(message: JsonObject): string | undefined {
  const edited = editedMessage(message)
  const type = messageType(edited)
  if (type === 'edit') return undefined
  const read = Object.hasOwn(READERS, type) ? READERS[type] : undefined
  return (read ?? anyText)(messageBody(edited), edited)
}

function caption(body: unknown): string | undefined {
  return text(object(body).caption)
}

function location(body: unknown): string | undefined {
  const { name, address, latitude, longitude } = object(body)
  const [named, addressed] = [text(name), text(address)]
  if (named !== undefined && addressed !== undefined)
    return `${addressed},`.startsWith(`${named},`) ? addressed : `${named}, ${addressed}`
  const [lat, long] = [scalar(latitude), scalar(longitude)]
  return first(named, addressed, lat !== undefined && long !== undefined ? `${lat},${long}` : undefined)
}

function contacts(body: unknown): string | undefined {
  const cards = isObject(body) ? [body] : list(body)
  return joined(cards.map((card) => cardName(object(card))))
}

/** A card shared on request may have no name. */
function cardName(card: JsonObject): string | undefined {
  const name = object(card.name)
  const phone = object(list(card.phones)[0])
  return first(
    text(name.formatted_name),
    joined([text(name.first_name), text(name.last_name)], ' '),
    text(object(card.org).company),
    text(phone.phone),
    text(phone.wa_id),
    text(VCARD_NAME.exec(text(card.vcard) ?? '')?.[1]?.trim()),
  )
}

function interactive(body: unknown): string | undefined {
  const interactiveBody = object(body)
  // In the order of their names, because jsonb keeps no other.
  const type = first(text(interactiveBody.type), Object.keys(interactiveBody).sort()[0])
  const answer = object(type === undefined ? undefined : own(interactiveBody, type))
  if (type === 'nfm_reply') return flowAnswer(answer)
  return first(
    text(answer.title),
    text(answer.response),
    text(answer.payment_method),
    text(object(interactiveBody.body).text),
    text(answer.id),
    productOf(answer) ?? productOf(object(interactiveBody.action)),
  )
}

function productOf({ product_retailer_id }: JsonObject): string | undefined {
  return scalar(product_retailer_id)
}

/** `response_json` is JSON in a string, of whatever shape the flow gives it. For a flow, `body` only says "Sent". */
function flowAnswer(answer: JsonObject): string | undefined {
  const body = text(answer.body)
  const json = text(answer.response_json)
  if (json === undefined || answer.name === 'address_message') return first(body, json)
  const answers = parsedObject(json)
  if (answers === undefined) return json
  const lines = Object.entries(answers)
    .filter(([key]) => key !== 'flow_token')
    .map(([key, value]) => `${key}: ${first(scalar(value), serialise(value).text)}`)
  return first(joined(lines), body)
}

function parsedObject(json: string): JsonObject | undefined {
  try {
    const value = parseExact(json)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** `2 × SKU-1, 1 × SKU-2`, under the text that the contact wrote with the order. */
function order(body: unknown): string | undefined {
  const { text: note, product_items } = object(body)
  const items = list(product_items).map((item) => {
    const { quantity, product_retailer_id } = object(item)
    return `${scalar(quantity) ?? '1'} × ${scalar(product_retailer_id) ?? 'unnamed product'}`
  })
  return joined([text(note), joined(items)], '\n')
}

/** Meta says why it does not show the message, and not what the message was. */
function unsupported(_body: unknown, message: JsonObject): string | undefined {
  const error = object(list(message.errors)[0])
  return first(text(error.title), text(error.message), text(object(error.error_data).details))
}

/** A type that Meta has not documented yet: the property that most likely is for reading, or why there is none. */
function anyText(body: unknown, message: JsonObject): string | undefined {
  const fields = object(body)
  const { body: text1, text: text2, caption: text3, title, name, description, emoji } = fields
  const texts = [body, text1, text2, text3, title, name, description, emoji].map(text)
  return first(...texts, unsupported(body, message))
}

function joined(parts: readonly (string | undefined)[], separator = ', '): string | undefined {
  return text(parts.filter((part) => part !== undefined).join(separator))
}
