/**
 * A Meta webhook as jobs.
 *
 * Whatever Meta signed is kept: an item that cannot be stored as what it claims to be carries `park` under a hash of its
 * content, one that is nested too deeply (see nesting.ts) is kept as bytes, and so is a whole body that is no
 * webhook. A 4xx would only bring the same bytes back for seven days.
 */
import { isUtf8 } from 'node:buffer'
import { EVENT_VERSION, type InboundJob, type WebhookEvent } from '../../core/event.ts'
import { contentJobId } from '../../core/job-id.ts'
import { parseExact, scrubText } from '../../core/json-text.ts'
import { hasRepeatedKey } from '../../core/repeated-keys.ts'
import { present } from '../present.ts'
import { itemsOf, type MetaItem } from './envelope.ts'
import { isObject, type JsonObject, text } from './json-reader.ts'
import { messageId, messageIdProblem, metaJobIds } from './message-id.ts'
import { messageType } from './message-type.ts'
import { MAX_LEVELS, serialise } from './nesting.ts'
import { groupParticipant, statusProblem } from './statuses.ts'

/**
 * Meta sends at most 1,000 updates, and 3 MB have no room for more than about 20,000 messages of the history. A body of
 * millions of empty items would delay every other webhook for as long as it takes to queue them.
 */
const MAX_ITEMS = 50_000
/** Leaves out a byte order mark. */
const UTF8 = new TextDecoder('utf-8')

/** Every item of the body as one job. Never throws. `receivedAt`: milliseconds since 1970. */
export function parseMetaWebhook(rawBody: Buffer, receivedAt: number): InboundJob[] {
  const asBytes = (park: string) => [unreadable(rawBody, { received_at: receivedAt, park })]
  const body = readBody(rawBody)
  if ('problem' in body) return asBytes(body.problem)
  const jobs: InboundJob[] = []
  for (const item of itemsOf(body.value)) {
    if (jobs.length === MAX_ITEMS) return asBytes(`body holds more than ${MAX_ITEMS} items`)
    jobs.push(toJob(item, receivedAt))
  }
  // The other values of a repeated key are in none of the items: the bytes keep them.
  if (body.hasRepeatedKey) jobs.push(...asBytes('body has an object with a key twice: the last one was read'))
  return jobs.length > 0 ? jobs : asBytes('body holds no change')
}

function readBody(rawBody: Buffer): { value: JsonObject; hasRepeatedKey: boolean } | { problem: string } {
  if (!isUtf8(rawBody)) return { problem: 'body is not valid UTF-8' }
  const text = UTF8.decode(rawBody)
  let value: unknown
  try {
    value = parseExact(text)
  } catch {
    return { problem: 'body is not JSON' }
  }
  if (!isObject(value)) return { problem: 'body is not a JSON object' }
  if (!Array.isArray(value.entry)) return { problem: 'body has no list of entries' }
  return { value, hasRepeatedKey: hasRepeatedKey(text, value) }
}

/** One item as a job, parked where it cannot be stored as what it claims to be. */
export function toJob(item: MetaItem, receivedAt: number): InboundJob {
  const { text: payload, isTooDeep } = serialise(item.value)
  // As text of their own these reach jsonb in the queue, which refuses U+0000.
  const around = {
    received_at: receivedAt,
    account: item.account && scrubText(item.account),
    business_number: item.business_number && scrubText(item.business_number),
    field: item.field && scrubText(item.field),
    context: JSON.stringify(item.context),
  }
  if (isTooDeep) {
    const park = `${item.kind} is nested deeper than ${MAX_LEVELS} levels`
    const context = JSON.stringify({ part: item.kind, ...item.context })
    return unreadable(Buffer.from(payload), { ...around, context, park })
  }
  const identity = item.problem === undefined ? identify(item) : { park: item.problem }
  const event = present<WebhookEvent>({
    v: EVENT_VERSION,
    kind: item.kind,
    provider: 'meta',
    ...around,
    wa_message_id: identity.wa_message_id,
    payload,
    park: identity.park,
  })
  return { job_id: identity.job_id ?? contentId(item, payload), event }
}

type Identity = { wa_message_id?: string; job_id?: string; park?: string }

/** The ids of a message or status and of its job, or why it has none; neither for what has no id of its own. */
function identify({ kind, value, context }: MetaItem): Identity {
  if (kind === 'other') {
    const isMisfit = context.list !== undefined && !isObject(value)
    return isMisfit ? { park: `item of ${context.list} is not an object` } : {}
  }
  const name = kind === 'history' ? 'history message' : kind
  if (!isObject(value)) return { park: `${name} is not an object` }
  const id = messageId(value.id)
  if (id === undefined) return { park: `${name} ${messageIdProblem(value.id)}` }
  const isSent = kind === 'message' || kind === 'echo'
  // Apart from the job of the same message under `messages`, which the queue would drop.
  if (isSent && context.is_standby) return { wa_message_id: id, job_id: metaJobIds.standby(id) }
  if (kind === 'message') return { wa_message_id: id, job_id: metaJobIds.message(id) }
  if (kind === 'echo') return { wa_message_id: id, job_id: metaJobIds.echo(id) }
  if (kind === 'history') return { wa_message_id: id, job_id: metaJobIds.history(id, messageType(value)) }
  const park = statusProblem(value)
  if (park !== undefined) return { wa_message_id: id, park }
  return {
    wa_message_id: id,
    job_id: metaJobIds.status(id, text(value.status) ?? '', groupParticipant(value)),
  }
}

/** Redelivered, the same content is the same event; Meta's account events have no other id. */
function contentId({ account, business_number, field, context }: MetaItem, payload: string): string {
  const around = [account, context.entry_time, field, business_number, context.list]
  return contentJobId(['meta', ...around.map((part) => part ?? ''), payload])
}

type Around = Pick<WebhookEvent, 'received_at' | 'park'> & Partial<WebhookEvent>

function unreadable(bytes: Buffer, around: { [Key in keyof Around]: Around[Key] | undefined }): InboundJob {
  const payload = bytes.toString('base64')
  const event = present<WebhookEvent>({
    v: EVENT_VERSION,
    kind: 'unreadable',
    provider: 'meta',
    ...around,
    payload,
  })
  return { job_id: contentJobId(['meta', 'unreadable', payload]), event }
}
