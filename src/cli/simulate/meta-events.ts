/** Messages and statuses in the form of Meta's Cloud API, with the contact that comes beside each. */
import type { Person } from './people.ts'
import type { Random } from './random.ts'

export type MetaItem = { kind: 'message' | 'echo' | 'status'; contact: object; item: object }

export type ItemParts = {
  person: Person
  id: string
  /** Since 1970. */
  seconds: number
}

export const BUSINESS_PHONE = '15550009999'

export type StatusWord = 'sent' | 'delivered' | 'read'

export const STATUS_ORDERS: readonly [readonly StatusWord[], ...(readonly StatusWord[])[]] = [
  ['sent', 'delivered', 'read'],
  ['sent', 'read', 'delivered'],
  ['delivered', 'sent', 'read'],
  ['delivered', 'read', 'sent'],
  ['read', 'sent', 'delivered'],
  ['read', 'delivered', 'sent'],
]

const SENTENCES = [
  'Hello! Is my order on its way?',
  'Olá, vocês entregam em São João? 🙂',
  'Können Sie mir bitte die Größe 38 zurücklegen?',
  'Where do I find the invoice, https://example.com/account/invoices ?',
  '¿A qué hora abren mañana? ☕',
  'Merci beaucoup, c’est noté 👍🏽',
  'I would like to change the address, 12/4 Rose Lane',
  'ありがとうございます!またお願いします 🙇‍♀️',
  'شكرا جزيلا، وصلني الطلب 📦',
  'Спасибо, всё пришло вовремя',
  'धन्यवाद 🙏 कल फिर बात करते हैं',
  'It says "not available" — what does this mean?',
  'Ok',
  '😀😀😀',
  'Two tickets please,\nfor Friday evening.\nThank you!',
] as const
const CAPTIONS = ['Here it is', 'Está rasgado aqui 😕', 'Größe passt nicht', 'See the label 1/2'] as const

/** One to four sentences in many languages. */
export function randomText(random: Random): string {
  return Array.from({ length: 1 + random.integer(4) }, () => random.pick(SENTENCES)).join(' ')
}

export function textMessage(parts: ItemParts, text: string): MetaItem {
  return inboundMessage(parts, 'text', { body: text })
}

export function imageMessage(parts: ItemParts, random: Random): MetaItem {
  const caption = random.chance(0.5) ? { caption: random.pick(CAPTIONS) } : {}
  const bytes = Buffer.from(Array.from({ length: 32 }, () => random.integer(256)))
  return inboundMessage(parts, 'image', {
    ...caption,
    mime_type: 'image/jpeg',
    sha256: bytes.toString('base64'),
    id: `555${bytes.readUInt32LE(0)}${bytes.readUInt16LE(4)}`,
  })
}

function inboundMessage(parts: ItemParts, type: 'text' | 'image', content: object): MetaItem {
  const { person } = parts
  const from = { ...withPhone('from', person), from_user_id: person.user_id }
  return itemOf('message', parts, { ...from, type, [type]: content })
}

/** A text that the business wrote on its phone. */
export function echoMessage(parts: ItemParts, text: string): MetaItem {
  const { person } = parts
  const to = { from: BUSINESS_PHONE, ...withPhone('to', person), to_user_id: person.user_id }
  return itemOf('echo', parts, { ...to, type: 'text', text: { body: text } })
}

export function status(parts: ItemParts, word: string): MetaItem {
  const { person } = parts
  return itemOf('status', parts, {
    status: word,
    ...withPhone('recipient_id', person),
    recipient_user_id: person.user_id,
    ...(word === 'delivered' ? { pricing: PRICING } : {}),
  })
}

function itemOf(kind: MetaItem['kind'], { person, id, seconds }: ItemParts, fields: object): MetaItem {
  return { kind, contact: contactOf(person), item: { id, timestamp: String(seconds), ...fields } }
}

const PRICING = { billable: true, pricing_model: 'PMP', type: 'regular', category: 'utility' }

function contactOf(person: Person): object {
  const { name, user_id, username } = person
  const profile = username === undefined ? { name } : { name, username }
  return { profile, ...withPhone('wa_id', person), user_id }
}

/** A person who writes under a username does not show the number. */
function withPhone(field: string, { phone }: Person): object {
  return phone === undefined ? {} : { [field]: phone }
}
