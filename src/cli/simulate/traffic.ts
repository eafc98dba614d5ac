/**
 * The webhooks of one run. Each is made again whenever it is sent, always with the same bytes, so that a redelivery needs
 * no memory.
 */
import { imageMessage, randomText, STATUS_ORDERS, status, textMessage } from './meta-events.ts'
import { metaWebhook } from './meta-webhook.ts'
import { type Person, personAt } from './people.ts'
import { createPlan, type Plan, type PlanSettings } from './plan.ts'
import { createRandom, deriveSeed } from './random.ts'
import { createWamid } from './wamid.ts'

export type TrafficSettings = PlanSettings & {
  /** Of all messages, from 0 to 1. */
  imageShare: number
  /** How many people write. */
  conversations: number
  /** 8 hexadecimal digits that no other run has. */
  run: string
  /** In milliseconds; the last message is from this moment. */
  startedAt: number
  /** The messages look as if they had come at this pace (20). */
  messagesPerSecond?: number
}

/** The key of an event in the database. */
export type EventKey =
  | { kind: 'message'; wa_message_id: string }
  | { kind: 'status'; wa_message_id: string; status: string }

export type Traffic = Plan & {
  key(event: number): EventKey
  /** The bytes of the webhook, as Meta would send them. */
  body(webhook: number): Buffer
}

const STATUSES_PER_MESSAGE = 3
const MESSAGES_PER_SECOND = 20

const PERSON = 3
const CONTENT = 4
const STATUS_ORDER = 5
const SHAPE = 6

export function createTraffic(settings: TrafficSettings): Traffic {
  const plan = createPlan(settings)
  const random = (purpose: number, number: number) => createRandom(deriveSeed(settings.seed, purpose, number))
  const { run, messages, messagesPerSecond = MESSAGES_PER_SECOND } = settings

  const inbound = (number: number): { person: Person; id: string } => {
    const person = personAt(random(PERSON, 2 * number).integer(settings.conversations))
    return { person, id: createWamid({ peer: peerOf(person), isFromBusiness: false, run, number }) }
  }
  const outbound = (number: number): { person: Person; id: string } => {
    const person = personAt(random(PERSON, 2 * number + 1).integer(settings.conversations))
    return { person, id: createWamid({ peer: peerOf(person), isFromBusiness: true, run, number }) }
  }
  /** Meta's word for the nth status: the three of one message in an order of chance. */
  const statusOf = (number: number) => {
    const message = Math.floor(number / STATUSES_PER_MESSAGE)
    const order = random(STATUS_ORDER, message).pick(STATUS_ORDERS)
    return { message, word: order[number % STATUSES_PER_MESSAGE] ?? 'sent' }
  }
  const secondsAt = (share: number) =>
    Math.floor(settings.startedAt / 1_000 - ((1 - share) * messages) / messagesPerSecond)

  const item = (event: number) => {
    if (event >= messages) {
      const { message, word } = statusOf(event - messages)
      const share = (event - messages) / settings.statuses
      return status({ ...outbound(message), seconds: secondsAt(share) }, word)
    }
    const content = random(CONTENT, event)
    const parts = { ...inbound(event), seconds: secondsAt(event / messages) }
    return content.chance(settings.imageShare)
      ? imageMessage(parts, content)
      : textMessage(parts, randomText(content))
  }

  return {
    ...plan,
    key(event) {
      if (event < messages) return { kind: 'message', wa_message_id: inbound(event).id }
      const { message, word } = statusOf(event - messages)
      return { kind: 'status', wa_message_id: outbound(message).id, status: word }
    },
    body(webhook) {
      const items = Array.from(plan.eventsOf(webhook), item)
      return metaWebhook(items, random(SHAPE, webhook).chance(0.5))
    },
  }
}

function peerOf(person: Person): string {
  return person.phone ?? person.user_id
}
