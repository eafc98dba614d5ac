/** The envelope of Meta's Cloud API, and its bytes. */
import { createHmac } from 'node:crypto'
import { BUSINESS_PHONE, type MetaItem } from './meta-events.ts'

const BUSINESS_ACCOUNT_ID = '555000000000100'
const PHONE_NUMBER_ID = '555000000000200'

/** Where each kind of item stands in a change. */
const LISTS = {
  message: { field: 'messages', list: 'messages' },
  echo: { field: 'smb_message_echoes', list: 'message_echoes' },
  status: { field: 'messages', list: 'statuses' },
} as const

/** One webhook with all items: grouped into one change for each kind, or a change for each item. */
export function metaWebhook(items: readonly MetaItem[], isGrouped: boolean): Buffer {
  const groups = isGrouped
    ? (['message', 'echo', 'status'] as const).map((kind) => items.filter((item) => item.kind === kind))
    : items.map((item) => [item])
  return encodeLikeMeta({
    object: 'whatsapp_business_account',
    entry: [{ id: BUSINESS_ACCOUNT_ID, changes: groups.flatMap(changesOf) }],
  })
}

function changesOf(group: readonly MetaItem[]): object[] {
  const [first] = group
  if (first === undefined) return []
  const { field, list } = LISTS[first.kind]
  const value = {
    messaging_product: 'whatsapp',
    metadata: { display_phone_number: BUSINESS_PHONE, phone_number_id: PHONE_NUMBER_ID },
    contacts: group.map(({ contact }) => contact),
    [list]: group.map(({ item }) => item),
  }
  return [{ value, field }]
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
