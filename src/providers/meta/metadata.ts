/** Metadata of an event: the business number that it is for, and our callback id. */
import type { WebhookEvent } from '../../core/event.ts'
import { phoneDigits } from '../../core/phone.ts'
import type { MetaContext } from './envelope.ts'
import { type JsonObject, object, scalar, text } from './json-reader.ts'

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** The number's id; without one its digits, its business account, or nothing: a message is a row all the same. */
export function businessNumber(event: WebhookEvent, context: MetaContext): string {
  return event.business_number ?? displayedNumber(context) ?? event.account ?? ''
}

/** The business's phone number, digits only. */
export function displayedNumber(context: MetaContext): string | undefined {
  const shown = scalar(object(context.metadata).display_phone_number)
  return shown === undefined ? undefined : phoneDigits(shown)
}

/** Our callback id. Another app on the business account may have put anything into this field. */
export function callbackId(item: JsonObject): string | undefined {
  const data = text(item.biz_opaque_callback_data)
  return data !== undefined && UUID.test(data) ? data.toLowerCase() : undefined
}
