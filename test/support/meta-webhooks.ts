/** Bodies as Meta sends them, signed as Meta signs them. A test states only what matters to it. */
import { createHmac, randomBytes } from 'node:crypto'

type Json = Record<string, unknown>

export const META_APP_SECRET = 'test-app-secret-0001'
export const META_ACCOUNT = '102290129340001'
export const META_PHONE_NUMBER_ID = '106540352240001'
/** The business's own number, as `metadata` shows it. */
export const META_BUSINESS_PHONE = '15550009999'
export const META_CUSTOMER_PHONE = '15551230001'

/** The value of `X-Hub-Signature-256`. */
export function sign(body: string | Buffer, appSecret = META_APP_SECRET): string {
  return `sha256=${createHmac('sha256', appSecret).update(body).digest('hex')}`
}

/** Headers of a delivery, signed. */
export function metaHeaders(body: string | Buffer, appSecret = META_APP_SECRET): Record<string, string> {
  return { 'content-type': 'application/json', 'x-hub-signature-256': sign(body, appSecret) }
}

/** A wamid that nobody has used. */
export function wamid(): string {
  return `wamid.${randomBytes(24).toString('base64')}`
}

/** An item of `messages`: a text, unless told otherwise. `type` without a body of its own gets none. */
export function metaMessage(fields: Json = {}): Json {
  const isText = fields.type === undefined && fields.text === undefined
  return {
    from: META_CUSTOMER_PHONE,
    id: wamid(),
    timestamp: '1760000000',
    type: 'text',
    ...(isText ? { text: { body: 'Hello' } } : {}),
    ...fields,
  }
}

/** An item of `statuses`. */
export function metaStatus(fields: Json = {}): Json {
  return {
    id: wamid(),
    status: 'delivered',
    timestamp: '1760000001',
    recipient_id: META_CUSTOMER_PHONE,
    ...fields,
  }
}

/** An item of `contacts`. */
export function metaContact(fields: Json & { name?: string; username?: string } = {}): Json {
  const { name = 'Ada Example', username, ...rest } = fields
  return {
    profile: { name, ...(username === undefined ? {} : { username }) },
    wa_id: META_CUSTOMER_PHONE,
    ...rest,
  }
}

/** A change; `value` comes with `messaging_product` and `metadata`, as it does for everything about one number. */
export function metaChange(value: Json, field = 'messages'): Json {
  const metadata = { display_phone_number: META_BUSINESS_PHONE, phone_number_id: META_PHONE_NUMBER_ID }
  return { value: { messaging_product: 'whatsapp', metadata, ...value }, field }
}

/** A change of a conversation that another app holds, with these lists. */
export function metaStandby(lists: Json): Json {
  return metaChange({ standby: lists }, 'standby')
}

/** An item of `message_echoes` in standby: what another app has sent, in the form in which it asked Meta to send it. */
export function metaSentEcho(request: Json = {}, fields: Json = {}): Json {
  const message = { to: META_CUSTOMER_PHONE, type: 'text', text: { body: 'We open at nine.' }, ...request }
  return { id: wamid(), timestamp: '1760000000', message, ...fields }
}

/** A change that says who has control: passed to this app, unless told otherwise. It has no `metadata`. */
export function metaHandover(fields: Json = {}, roles: Json = {}): Json {
  const { type = 'control_passed' } = fields
  const value = {
    messaging_product: 'whatsapp',
    recipient: { display_phone_number: META_BUSINESS_PHONE, phone_number_id: META_PHONE_NUMBER_ID },
    sender: { phone_number: META_CUSTOMER_PHONE },
    timestamp: '1760000000',
    type,
    [String(type)]: { previous_owner_role: 'ai_agent', new_owner_role: 'escalation', ...roles },
    ...fields,
  }
  return { field: 'messaging_handovers', value }
}

/** A whole body with one entry. */
export function metaWebhook(changes: readonly unknown[], entry: Json = {}): Json {
  return { object: 'whatsapp_business_account', entry: [{ id: META_ACCOUNT, changes, ...entry }] }
}

/** The body of a webhook with these messages, and the contacts that go with them. */
export function metaMessagesWebhook(messages: readonly Json[], contacts?: readonly Json[]): Json {
  return metaWebhook([metaChange({ ...(contacts ? { contacts } : {}), messages })])
}

/** The text of a body with one text message, ready to be signed and sent. */
export function metaTextWebhook({
  id,
  from = META_CUSTOMER_PHONE,
  text = 'Hello',
  name = 'Ada Example',
}: {
  id: string
  from?: string
  text?: string
  name?: string
}): string {
  const message = metaMessage({ id, from, text: { body: text } })
  return JSON.stringify(metaMessagesWebhook([message], [metaContact({ wa_id: from, name })]))
}

/** The text of a body with one status. */
export function metaStatusWebhook(fields: Json = {}): string {
  return JSON.stringify(metaWebhook([metaChange({ statuses: [metaStatus(fields)] })]))
}
