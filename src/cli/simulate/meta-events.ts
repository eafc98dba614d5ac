/** Messages and statuses in the form of Meta's Cloud API, with the contact that comes beside each. */
import type { Person } from './people.ts'
import type { Random } from './random.ts'

export type MetaItem = { contact: object } & ({ message: object } | { status: object })

export type MessageParts = {
  person: Person
  id: string
  /** Since 1970. */
  seconds: number
  random: Random
}

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

export function textMessage(parts: MessageParts): MetaItem {
  const { random } = parts
  const sentences = Array.from({ length: 1 + random.integer(4) }, () => random.pick(SENTENCES))
  return inboundMessage(parts, 'text', { body: sentences.join(' ') })
}

export function imageMessage(parts: MessageParts): MetaItem {
  const { random } = parts
  const caption = random.chance(0.5) ? { caption: random.pick(CAPTIONS) } : {}
  const bytes = Buffer.from(Array.from({ length: 32 }, () => random.integer(256)))
  return inboundMessage(parts, 'image', {
    ...caption,
    mime_type: 'image/jpeg',
    sha256: bytes.toString('base64'),
    id: `555${bytes.readUInt32LE(0)}${bytes.readUInt16LE(4)}`,
  })
}

function inboundMessage(
  { person, id, seconds }: MessageParts,
  type: 'text' | 'image',
  content: object,
): MetaItem {
  return {
    contact: contactOf(person),
    message: {
      ...(person.phone === undefined ? {} : { from: person.phone }),
      from_user_id: person.user_id,
      id,
      timestamp: String(seconds),
      type,
      [type]: content,
    },
  }
}

export type StatusParts = { person: Person; id: string; word: StatusWord; seconds: number }

export function status({ person, id, word, seconds }: StatusParts): MetaItem {
  return {
    contact: contactOf(person),
    status: {
      id,
      status: word,
      timestamp: String(seconds),
      ...(person.phone === undefined ? {} : { recipient_id: person.phone }),
      recipient_user_id: person.user_id,
      ...(word === 'delivered' ? { pricing: PRICING } : {}),
    },
  }
}

const PRICING = { billable: true, pricing_model: 'PMP', type: 'regular', category: 'utility' }

function contactOf({ name, phone, user_id, username }: Person): object {
  return {
    profile: username === undefined ? { name } : { name, username },
    ...(phone === undefined ? {} : { wa_id: phone }),
    user_id,
  }
}
