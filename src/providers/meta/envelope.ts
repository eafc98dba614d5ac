/**
 * The items of a Meta webhook, `entry[] × changes[] × value`, cut apart so that each becomes one event.
 *
 * Nothing of a body falls through: a list whose items have a meaning of their own is split (`ITEM_LISTS` and the threads
 * of the history), and what is left of a history chunk, value, change, entry or body after that, be it errors, unknown
 * fields or contacts that belong to no item, is an item of kind `other`. A value without any such list is one item, whole.
 */

import { present } from '../present.ts'
import { type ContactIndex, indexContacts } from './contact-index.ts'
import { HANDOVER_FIELD, handoverNumber } from './handover-number.ts'
import {
  addresseeOf,
  contactOf,
  participantOf,
  recipientOf,
  senderOf,
  type UnreadContact,
} from './identity.ts'
import { isObject, type JsonObject, list, object, own, scalar, text } from './json-reader.ts'
import { isTooDeep } from './nesting.ts'
import { sentMessage } from './sent-message.ts'

export type MetaItemKind = 'message' | 'status' | 'echo' | 'history' | 'other'

/** The data around an item that is needed to understand it; goes into `WebhookEvent.context` as JSON text. */
export type MetaContext = {
  /** The `object` of the body, where it is not `whatsapp_business_account`. */
  object?: string
  entry_time?: string
  metadata?: JsonObject
  /** The entry of `contacts` that belongs to the item. */
  contact?: JsonObject
  /** The list in the value that held the item; absent where the item is a value. */
  list?: string
  /** Another app holds the conversation, such as Meta Business Agent: this one only watches. */
  is_standby?: boolean
  /** History: the other side of the conversation. */
  thread_id?: string
  /** What the item is, where the kind of the event does not say it. */
  part?: MetaPart
}

export type MetaPart = MetaItemKind | 'entry' | 'change' | 'chunk'

export type MetaItem = {
  kind: MetaItemKind
  value: unknown
  account?: string
  business_number?: string
  field?: string
  context: MetaContext
  /** What is wrong with the shape around or of the item. */
  problem?: string
}

export type Around = Omit<MetaItem, 'kind' | 'value' | 'problem'>

/** Lists whose items stand for themselves, so that a redelivery in another batch is recognised item by item. */
const ITEM_LISTS: Readonly<Record<string, MetaItemKind>> = {
  messages: 'message',
  statuses: 'status',
  message_echoes: 'echo',
  calls: 'other',
  groups: 'other',
  user_preferences: 'other',
  user_id_update: 'other',
  state_sync: 'other',
  automatic_events: 'other',
}

const STANDBY_FIELD = 'standby'

const ITEM_LIST_ENTRIES = Object.entries(ITEM_LISTS)
const BODY_FIELDS = ['object', 'entry']
const ENTRY_FIELDS = ['id', 'time', 'changes']
const CHANGE_FIELDS = ['field', 'value']

export function* itemsOf(body: JsonObject): Generator<MetaItem> {
  const name = text(body.object)
  const around = { context: present<MetaContext>({ object: isUsual(name) ? undefined : name }) }
  yield* leftover(body, BODY_FIELDS, around)
  for (const entry of list(body.entry)) yield* itemsOfEntry(entry, around)
}

/** The items in a part of an envelope that was kept by itself. */
export function* itemsOfPart(part: MetaPart, value: unknown, around: Around): Generator<MetaItem> {
  const { contact, list: name = '' } = around.context
  if (part === 'entry') return yield* itemsOfEntry(value, around)
  if (part === 'change') return yield* itemsOfChange(value, around)
  if (part === 'chunk') return yield* itemsOfChunk(value, around, indexContacts(list([contact])))
  // Versions without standby kept such a value whole.
  const isWholeValue = part === 'other' && name === '' && isObject(value) && hasItems(value.standby)
  if (isWholeValue) return yield* itemsOfValue(value, around)
  const listed = Object.hasOwn(ITEM_LISTS, name) ? ITEM_LISTS[name] : undefined
  yield { ...around, kind: listed === undefined ? part : kindOf(listed, value, around.field), value }
}

function* itemsOfEntry(entry: unknown, outer: Around): Generator<MetaItem> {
  if (!isObject(entry)) return yield misfit('entry', entry, outer, 'entry is not an object')
  const { id, time, changes } = entry
  const around = present<Around>({
    account: scalar(id),
    context: present<MetaContext>({ ...outer.context, entry_time: scalar(time) }),
  })
  if (!Array.isArray(changes)) return yield misfit('entry', entry, around, 'entry has no list of changes')
  yield* leftover(entry, ENTRY_FIELDS, around)
  for (const change of changes) yield* itemsOfChange(change, around)
}

function* itemsOfChange(change: unknown, outer: Around): Generator<MetaItem> {
  if (!isObject(change)) return yield misfit('change', change, outer, 'change is not an object')
  const { field, value } = change
  const around = present<Around>({ ...outer, field: text(field) })
  if (value === undefined) return yield misfit('change', change, around, 'change has no value')
  yield* leftover(change, CHANGE_FIELDS, around)
  if (!isObject(value)) return yield other(value, around)
  const metadata = isObject(value.metadata) && !isTooDeep(value.metadata) ? value.metadata : undefined
  yield* itemsOfValue(
    value,
    present<Around>({
      ...around,
      business_number:
        scalar(object(metadata).phone_number_id) ??
        (field === HANDOVER_FIELD ? handoverNumber(value) : undefined),
      context: present<MetaContext>({
        ...around.context,
        metadata,
        is_standby: field === STANDBY_FIELD ? true : undefined,
      }),
    }),
  )
}

/** A value. Of a conversation that another app holds, the lists are one level deeper, with contacts of their own. */
function* itemsOfValue(value: JsonObject, around: Around): Generator<MetaItem> {
  const { standby, ...rest } = value
  if (!hasItems(standby)) return yield* itemsOfLevel(value, around, { isWhole: true })
  yield* itemsOfLevel(standby, { ...around, context: { ...around.context, is_standby: true } })
  yield* itemsOfLevel(rest, around)
}

/** `isWhole`: without any item, this level is one. */
function* itemsOfLevel(value: JsonObject, around: Around, { isWhole = false } = {}): Generator<MetaItem> {
  const contacts = indexContacts(list(value.contacts))
  let isOneItem = isWhole
  for (const item of itemsOfLists(value, around, contacts)) {
    isOneItem = false
    yield item
  }
  if (isOneItem) return yield other(value, around)
  const rest = restOfValue(value, around, contacts)
  if (rest !== undefined) yield other(rest, around)
}

function* itemsOfLists(value: JsonObject, around: Around, contacts: ContactIndex): Generator<MetaItem> {
  for (const [name, kind] of ITEM_LIST_ENTRIES) {
    for (const item of list(value[name])) {
      const actual = kindOf(kind, item, around.field)
      const contact = contacts.find(unreadContactsOf(actual, object(item)))
      const context = present<MetaContext>({ ...around.context, contact, list: name })
      yield { ...around, kind: actual, value: item, context }
    }
  }
  for (const chunk of list(value.history)) yield* itemsOfChunk(chunk, around, contacts)
}

/**
 * The statuses of calls have the id of a call, those of payments the id of the message that asks for the money and words
 * of their own (`failed` is the payment). Items under `messages` are history in the field `history`, and echoes in
 * the fields for echoes.
 */
function kindOf(kind: MetaItemKind, item: unknown, field: string | undefined): MetaItemKind {
  if (kind === 'message' && field === 'history') return 'history'
  if (kind === 'message' && field?.endsWith('message_echoes')) return 'echo'
  if (kind !== 'status') return kind
  const { type, id } = object(item)
  const isCall = field === 'calls' || type === 'call' || text(id)?.startsWith('wacid.') === true
  return isCall || type === 'payment' ? 'other' : 'status'
}

function unreadContactsOf(kind: MetaItemKind, item: JsonObject): UnreadContact[] {
  if (kind === 'message') return [senderOf(item)]
  if (kind === 'echo') return [addresseeOf(sentMessage(item))]
  if (kind === 'history') return [addresseeOf(item), senderOf(item)]
  if (kind === 'status') return [participantOf(item), recipientOf(item)]
  const { user_id, parent_user_id } = item
  const previous = { user_id: object(user_id).previous, parent_user_id: object(parent_user_id).previous }
  const current = { user_id: object(user_id).current, parent_user_id: object(parent_user_id).current }
  return [contactOf(item), senderOf(item), addresseeOf(item), recipientOf(item), current, previous]
}

/** A chunk of the history: the messages of its threads, and what says how far the synchronisation is. */
function* itemsOfChunk(chunk: unknown, around: Around, contacts: ContactIndex): Generator<MetaItem> {
  const context = { ...around.context, list: 'history' }
  if (!isObject(chunk))
    return yield misfit('chunk', chunk, { ...around, context }, 'history chunk is not an object')
  const { threads, ...rest } = chunk
  if (list(threads).length === 0) return yield other(chunk, { ...around, context })
  const threadsLeft: unknown[] = []
  for (const thread of list(threads)) {
    const { id, messages, ...restOfThread } = object(thread)
    const thread_id = scalar(id)
    for (const message of list(messages)) {
      const contact = contacts.find([{ address: thread_id }, ...unreadContactsOf('history', object(message))])
      const messageContext = present<MetaContext>({ ...context, contact, thread_id })
      yield { ...around, kind: 'history', value: message, context: messageContext }
    }
    if (list(messages).length === 0) threadsLeft.push(thread)
    else if (Object.keys(restOfThread).length > 0) threadsLeft.push({ id, ...restOfThread })
  }
  const left = threadsLeft.length > 0 ? { ...rest, threads: threadsLeft } : rest
  yield* leftover(left, [], { ...around, context })
}

const VALUE_FIELDS = ['messaging_product', 'metadata', 'contacts']

/** The value without the items that are events of their own, if that says anything. */
function restOfValue(value: JsonObject, around: Around, contacts: ContactIndex): JsonObject | undefined {
  const { messaging_product, metadata, contacts: entries } = value
  const rest = Object.entries(value).filter(
    ([name, field]) => !VALUE_FIELDS.includes(name) && !(isSplit(name) && Array.isArray(field)),
  )
  const unmatched = Array.isArray(entries) ? contacts.unmatched() : entries
  const isContactsDone = isNothing(unmatched)
  const isMetadataDone = isNothing(metadata) || around.context.metadata !== undefined
  const isProductDone = isNothing(messaging_product) || typeof messaging_product === 'string'
  const isRestDone = rest.every(([, field]) => isNothing(field))
  if (isRestDone && isContactsDone && isMetadataDone && isProductDone) return undefined
  return {
    ...(messaging_product === undefined ? {} : { messaging_product }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(isContactsDone ? {} : { contacts: unmatched }),
    ...Object.fromEntries(rest),
  }
}

function hasItems(value: unknown): value is JsonObject {
  return isObject(value) && ITEM_LIST_ENTRIES.some(([name]) => list(value[name]).length > 0)
}

function isSplit(name: string): boolean {
  return name === 'history' || own(ITEM_LISTS, name) !== undefined
}

/** The fields of an object that are not read, as an item of their own. */
function* leftover(whole: JsonObject, read: readonly string[], around: Around): Generator<MetaItem> {
  const isLeft = (name: string) => !read.includes(name)
  if (!Object.keys(whole).some((name) => isLeft(name) && !isNothing(whole[name]))) return
  yield other(Object.fromEntries(Object.entries(whole).filter(([name]) => isLeft(name))), around)
}

/** Some senders write null or something empty for what is not there. */
function isNothing(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0
  return value === undefined || value === null || (isObject(value) && Object.keys(value).length === 0)
}

function other(value: unknown, around: Around): MetaItem {
  return { ...around, kind: 'other', value }
}

/** A part of the envelope that cannot be taken apart. */
function misfit(part: MetaPart, value: unknown, around: Around, problem: string): MetaItem {
  return { ...other(value, { ...around, context: { ...around.context, part } }), problem }
}

function isUsual(name: string | undefined): boolean {
  return name === undefined || name === 'whatsapp_business_account'
}
