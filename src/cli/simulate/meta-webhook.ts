/** The envelope of Meta's Cloud API, and its bytes. */
import { createHmac } from 'node:crypto'
import type { MetaItem } from './meta-events.ts'

const BUSINESS_ACCOUNT_ID = '555000000000100'
const METADATA = { display_phone_number: '15550009999', phone_number_id: '555000000000200' }

/** One webhook with all items: grouped into one change for messages and one for statuses, or a change for each. */
export function metaWebhook(items: readonly MetaItem[], isGrouped: boolean): Buffer {
  const groups = isGrouped
    ? [items.filter((item) => 'message' in item), items.filter((item) => 'status' in item)]
    : items.map((item) => [item])
  const changes = groups.filter((group) => group.length > 0).map(change)
  return encodeLikeMeta({
    object: 'whatsapp_business_account',
    entry: [{ id: BUSINESS_ACCOUNT_ID, changes }],
  })
}

function change(group: readonly MetaItem[]): object {
  const messages = group.flatMap((item) => ('message' in item ? [item.message] : []))
  const statuses = group.flatMap((item) => ('status' in item ? [item.status] : []))
  return {
    value: {
      messaging_product: 'whatsapp',
      metadata: METADATA,
      contacts: group.map((item) => item.contact),
      ...(messages.length > 0 ? { messages } : {}),
      ...(statuses.length > 0 ? { statuses } : {}),
    },
    field: 'messages',
  }
}

/** Meta escapes everything outside ASCII, in lower case, and the slash; it signs these bytes. */
export function encodeLikeMeta(value: object): Buffer {
  const text = JSON.stringify(value).replace(/[/\u007f-\uffff]/g, (character) =>
    character === '/' ? '\\/' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return Buffer.from(text, 'latin1')
}

/** The value of `X-Hub-Signature-256`. */
export function signLikeMeta(body: Buffer, appSecret: string): string {
  return `sha256=${createHmac('sha256', appSecret).update(body).digest('hex')}`
}
