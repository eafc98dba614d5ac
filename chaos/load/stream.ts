/**
 * An endless series of webhooks. Each is made from its number and the seed alone, so that it can be sent again in this run
 * and in the next.
 *
 * A story is a message from a customer, or a message that the business wrote on its phone with the statuses that follow.
 * The events of some stories are shuffled together, so that a status may come before its message, and cut into webhooks
 * of different sizes; some events come twice in one webhook.
 */
import { echoMessage, type MetaItem, status, textMessage } from '../../src/cli/simulate/meta-events.ts'
import { metaWebhook } from '../../src/cli/simulate/meta-webhook.ts'
import { personAt } from '../../src/cli/simulate/people.ts'
import { usualBatch } from '../../src/cli/simulate/plan.ts'
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
  /** Each event once, also if the body has it twice. */
  events: readonly StreamEvent[]
  /** The webhook is sent again this many milliseconds after its 200, as Meta does by mistake. */
  redeliveredAfterMs: readonly number[]
}

export type StreamOptions = {
  seed: number
  /** 8 hexadecimal digits that no other run on the same database has. */
  run: string
  people?: number
  /** Most redeliveries of an acknowledged webhook. */
  maxRedeliveries?: number
  /** Share of stories that begin with a message of the business; the others are messages of customers. */
  echoShare?: number
  /** Events in a webhook; absent: mostly one, sometimes up to 50. */
  batch?: number
}

export type Stream = { webhook(number: number): StreamWebhook }

/** The text of a message. */
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
    const size = batch ?? usualBatch(random)
    webhooks.push(events.slice(next, next + size))
    next += size
  }
  return webhooks
}

/** Grouped into one change for each kind, or a change for each event. */
function bodyOf({ seed }: StreamOptions, number: number, events: readonly StreamEvent[]): Buffer {
  const random = createRandom(deriveSeed(seed, PURPOSE.shape, number))
  const sent = events.flatMap((event) => (random.chance(TWICE_IN_WEBHOOK_SHARE) ? [event, event] : [event]))
  return metaWebhook(sent.map(itemOf), random.chance(0.5))
}

function itemOf(event: StreamEvent): MetaItem {
  const { wa_message_id: id, timestamp: seconds } = event
  const parts = { person: personAt(event.person), id, seconds }
  if (event.kind === 'status') return status(parts, event.status)
  return event.kind === 'echo' ? echoMessage(parts, textOf(event)) : textMessage(parts, textOf(event))
}
