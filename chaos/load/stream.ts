/**
 * The webhooks of a run, without end, each made from its number and the seed alone: what was sent once can be sent again,
 * in this run and in the next.
 *
 * A story is a message from a customer, or a message that the business wrote on its phone with the statuses that follow.
 * The events of some stories are shuffled together, so that a status may come before its message, and cut into webhooks
 * of different sizes; some events come twice in one webhook.
 */
import { encodeLikeMeta } from '../../src/cli/simulate/meta-webhook.ts'
import { type Person, personAt } from '../../src/cli/simulate/people.ts'
import { createRandom, deriveSeed, type Random } from '../../src/cli/simulate/random.ts'
import { createWamid } from '../../src/cli/simulate/wamid.ts'

export type StreamEvent = {
  wa_message_id: string
  /** See people.ts of the simulator. */
  person: number
  /** When it happened, in seconds since 1970. */
  timestamp: number
} & ({ kind: 'message' | 'echo' } | { kind: 'status'; status: string })

export type StreamWebhook = {
  body: Buffer
  /** Each once, also those that come twice in the body. */
  events: readonly StreamEvent[]
  /** Sent again so long after its 200, as Meta does by mistake. In milliseconds. */
  redeliveredAfterMs: readonly number[]
}

export type StreamOptions = {
  seed: number
  /** 8 hexadecimal digits that no other run on the same database has. */
  run: string
  people?: number
  /** Most redeliveries of an acknowledged webhook. */
  maxRedeliveries?: number
  /** Share of the stories that the business tells: the rest are customers' messages. */
  echoShare?: number
  /** Events in a webhook; absent: mostly one, sometimes up to 50. */
  batch?: number
}

export type Stream = { webhook(number: number): StreamWebhook }

/** What is written in a message. */
export function textOf({ wa_message_id }: StreamEvent): string {
  return `Número ${wa_message_id.slice(-12)} 🙂`
}

/** Stories whose events mix. */
const STORIES_IN_BLOCK = 24
const TWICE_IN_WEBHOOK_SHARE = 0.05
const LONGEST_REDELIVERY_DELAY_MS = 3_000
const DEFAULT_PEOPLE = 200
/** 1 June 2026: the same bytes at every replay. Each story is a second later. */
const STARTED_AT_SECONDS = 1_780_272_000

const COURSES: readonly [readonly string[], ...(readonly string[])[]] = [
  [],
  ['sent'],
  ['delivered'],
  ['sent', 'delivered'],
  ['sent', 'failed'],
  ['sent', 'delivered', 'read'],
  ['sent', 'delivered', 'read', 'played'],
]

const PURPOSE = { stories: 11, order: 12, cuts: 13, redeliveries: 14, shape: 15 }

export function createStream(options: StreamOptions): Stream {
  /** The webhooks of a block have numbers in a row; where each block begins is known once it was made. */
  const blocks: { first: number; webhooks: StreamEvent[][] }[] = []

  function blockOf(number: number) {
    let last = blocks.at(-1)
    while (last === undefined || number >= last.first + last.webhooks.length) {
      last = {
        first: last === undefined ? 0 : last.first + last.webhooks.length,
        webhooks: makeBlock(options, blocks.length),
      }
      blocks.push(last)
    }
    // Nearly always the last one; an older webhook is asked for when it is sent again.
    const block = blocks.findLast(({ first }) => first <= number)
    if (block === undefined) throw new RangeError(`no webhook ${number}`)
    return block
  }

  return {
    webhook(number) {
      const { first, webhooks } = blockOf(number)
      const events = webhooks[number - first] ?? []
      const random = createRandom(deriveSeed(options.seed, PURPOSE.redeliveries, number))
      return {
        body: bodyOf(options, number, events),
        events,
        redeliveredAfterMs: Array.from({ length: random.integer((options.maxRedeliveries ?? 3) + 1) }, () =>
          random.integer(LONGEST_REDELIVERY_DELAY_MS),
        ),
      }
    },
  }
}

function makeBlock(options: StreamOptions, block: number): StreamEvent[][] {
  const random = (purpose: number) => createRandom(deriveSeed(options.seed, purpose, block))
  const telling = random(PURPOSE.stories)
  const events = Array.from({ length: STORIES_IN_BLOCK }, (_, index) =>
    makeStory(options, block * STORIES_IN_BLOCK + index, telling),
  ).flat()
  return cut(shuffle(events, random(PURPOSE.order)), options.batch, random(PURPOSE.cuts))
}

function makeStory(
  { run, people = DEFAULT_PEOPLE, echoShare = 0.5 }: StreamOptions,
  number: number,
  random: Random,
) {
  const person = random.integer(people)
  const isFromBusiness = random.chance(echoShare)
  const { phone, user_id } = personAt(person)
  const wa_message_id = createWamid({ peer: phone ?? user_id, isFromBusiness, run, number })
  const timestamp = STARTED_AT_SECONDS + number
  const story = { wa_message_id, person, timestamp }
  if (!isFromBusiness) return [{ kind: 'message', ...story } satisfies StreamEvent]
  const course = random.pick(COURSES)
  return [
    { kind: 'echo', ...story } satisfies StreamEvent,
    ...course.map((status) => ({ kind: 'status', ...story, status }) satisfies StreamEvent),
  ]
}

function shuffle<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, position: random.next() }))
    .sort((a, b) => a.position - b.position)
    .map(({ item }) => item)
}

function cut(events: readonly StreamEvent[], batch: number | undefined, random: Random): StreamEvent[][] {
  const webhooks: StreamEvent[][] = []
  for (let next = 0; next < events.length; ) {
    const size = batch ?? usualSize(random)
    webhooks.push(events.slice(next, next + size))
    next += size
  }
  return webhooks
}

/** Six of ten webhooks carry one event, three carry 2 to 10, one carries 11 to 50. */
function usualSize(random: Random): number {
  const dice = random.next()
  if (dice < 0.6) return 1
  return dice < 0.9 ? 2 + random.integer(9) : 11 + random.integer(40)
}

/** Grouped into one change for each field and list, or a change for each event. */
function bodyOf({ seed }: StreamOptions, number: number, events: readonly StreamEvent[]): Buffer {
  const random = createRandom(deriveSeed(seed, PURPOSE.shape, number))
  const sent = events.flatMap((event) => (random.chance(TWICE_IN_WEBHOOK_SHARE) ? [event, event] : [event]))
  const groups = random.chance(0.5)
    ? (['message', 'echo', 'status'] as const).map((kind) => sent.filter((event) => event.kind === kind))
    : sent.map((event) => [event])
  const changes = groups.filter((group) => group.length > 0).map(changeOf)
  return encodeLikeMeta({
    object: 'whatsapp_business_account',
    entry: [{ id: '555000000000300', changes }],
  })
}

const METADATA = { display_phone_number: '15550009999', phone_number_id: '555000000000400' }
const LISTS = {
  message: { field: 'messages', list: 'messages' },
  status: { field: 'messages', list: 'statuses' },
  echo: { field: 'smb_message_echoes', list: 'message_echoes' },
} as const

function changeOf(group: readonly StreamEvent[]): object {
  const { field, list } = LISTS[group[0]?.kind ?? 'message']
  const people = [...new Set(group.map((event) => event.person))].map(personAt)
  return {
    value: {
      messaging_product: 'whatsapp',
      metadata: METADATA,
      contacts: people.map(contactOf),
      [list]: group.map(itemOf),
    },
    field,
  }
}

function itemOf(event: StreamEvent): object {
  const { phone, user_id } = personAt(event.person)
  const base = { id: event.wa_message_id, timestamp: String(event.timestamp) }
  if (event.kind === 'status') {
    return { ...base, status: event.status, ...withPhone('recipient_id', phone), recipient_user_id: user_id }
  }
  const text = { type: 'text', text: { body: textOf(event) } }
  if (event.kind === 'echo') {
    return {
      ...base,
      from: METADATA.display_phone_number,
      ...withPhone('to', phone),
      to_user_id: user_id,
      ...text,
    }
  }
  return { ...base, ...withPhone('from', phone), from_user_id: user_id, ...text }
}

function contactOf({ name, phone, user_id }: Person): object {
  return { profile: { name }, ...withPhone('wa_id', phone), user_id }
}

/** Who writes under a username does not show the number. */
function withPhone(field: string, phone: string | undefined): object {
  return phone === undefined ? {} : { [field]: phone }
}
