/**
 * What an old chat system knows of its messages under names of its own: who wrote them, and to whom they went.
 *
 * Found by the names that people give. Where nothing fits, nothing is guessed: a message counts as received, and a
 * conversation has a contact without a number.
 */
import { quoteName, quoteText } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import type { Shapes } from './old-schema.ts'
import { columnOf, type TableShape } from './shape.ts'

/** Compared without case and underscores. */
const PHONE_NAMES = [
  'phone',
  'phonenumber',
  'waid',
  'whatsappid',
  'whatsappnumber',
  'whatsappphone',
  'mobile',
  'msisdn',
  'customerphone',
  'customerphonenumber',
  'customernumber',
  'contactphone',
  'contactnumber',
  'contactwaid',
  'clientphone',
  'userphone',
  'fromnumber',
  'fromphone',
  'remotejid',
  'participantphone',
]
const NAME_NAMES = [
  'name',
  'displayname',
  'fullname',
  'contactname',
  'customername',
  'profilename',
  'pushname',
]

const OUTBOUND_FLAGS = [
  'fromme',
  'isfromme',
  'isoutgoing',
  'outgoing',
  'isoutbound',
  'outbound',
  'sentbyus',
  'frombusiness',
]
const INBOUND_FLAGS = [
  'isincoming',
  'incoming',
  'isinbound',
  'inbound',
  'fromcustomer',
  'isfromcustomer',
  'fromuser',
]

const SENDER_NAMES = [
  'olddirection',
  'sender',
  'sendertype',
  'senderrole',
  'role',
  'author',
  'authortype',
  'sentby',
]
const OUTBOUND_WORDS = [
  'out',
  'outgoing',
  'outbound',
  'sent',
  'agent',
  'bot',
  'business',
  'operator',
  'assistant',
  'admin',
  'staff',
  'system',
  'company',
  'me',
]
const INBOUND_WORDS = [
  'in',
  'incoming',
  'inbound',
  'received',
  'user',
  'customer',
  'client',
  'contact',
  'guest',
  'lead',
]
/** A column with more different words than this is no side of a conversation. */
const MAX_WORDS = 10

export type PeerColumn = {
  /** SQL that reads it from row `v` of the table it was looked for in. */
  sql: string
  /** For people: table.column. */
  label: string
}

export type OutboundRule = {
  /** SQL over a row of chat_messages: true where we sent it. */
  sql: string
  /** The column that says so, for people. */
  label: string
}

/**
 * How a row tells that it was sent by the business, as SQL over a row with its original names (see `sentBy`). Undefined:
 * nothing says so.
 * @returns `unclear` with the words where the direction is told in words that are not known.
 */
export async function findOutboundRule(
  query: Query,
  messages: TableShape,
  isDirectionOurs: boolean,
): Promise<OutboundRule | { unclear: string } | undefined> {
  for (const { name, type } of messages.columns) {
    const label = `chat_messages.${name}`
    if (type === 'boolean' && OUTBOUND_FLAGS.includes(plain(name))) return { sql: quoteName(name), label }
    if (type === 'boolean' && INBOUND_FLAGS.includes(plain(name)))
      return { sql: `NOT ${quoteName(name)}`, label }
  }
  const names = isDirectionOurs ? SENDER_NAMES : ['direction', 'olddirection', ...SENDER_NAMES]
  const sender = messages.columns.find(({ name }) => names.includes(plain(name)))
  if (!sender) return undefined
  const { rows } = await query<{ word: string }>(
    `SELECT DISTINCT lower(${quoteName(sender.name)}::text) AS word FROM chat_messages
     WHERE ${quoteName(sender.name)} IS NOT NULL LIMIT ${MAX_WORDS + 1}`,
  )
  const words = rows.map(({ word }) => word)
  const unknown = words.filter((word) => !OUTBOUND_WORDS.includes(word) && !INBOUND_WORDS.includes(word))
  const original = originalName(sender.name)
  const label = `chat_messages.${original}`
  if (unknown.length > 0 && original === 'direction') return { unclear: `${label} (${unknown.join(', ')})` }
  if (unknown.length > 0 || words.length === 0) return undefined
  const list = OUTBOUND_WORDS.map(quoteText).join(', ')
  return { sql: `lower(${quoteName(original)}::text) IN (${list})`, label }
}

/**
 * SQL that is true for a row (by its alias) that `condition` says the business sent. The condition is over the columns as
 * they were called before any of them was set aside.
 */
export function sentBy(condition: string, messages: TableShape): (alias: string) => string {
  const aside = new Set(
    messages.columns
      .map(({ name }) => originalName(name))
      .filter((name) => columnOf(messages, `old_${name}`)),
  )
  const columns = messages.columns.filter(({ name }) => !aside.has(name))
  return (alias) => {
    const row = columns.map(
      ({ name }) =>
        `${alias}.${quoteName(name)} AS ${quoteName(aside.has(originalName(name)) ? originalName(name) : name)}`,
    )
    return `(SELECT (${condition}) FROM (SELECT ${row.join(', ')}) original)`
  }
}

/** Before it was set aside. */
function originalName(name: string): string {
  return name.startsWith('old_') ? name.slice('old_'.length) : name
}

/** A column with the phone, or the name, of the other side: in the table itself, or up to two foreign keys away. */
export function findPeerColumn(
  shapes: Shapes,
  table: TableShape | undefined,
  what: 'phone' | 'name',
): PeerColumn | undefined {
  return table && peerColumn(shapes, table, what === 'phone' ? PHONE_NAMES : NAME_NAMES, 'v', 2)
}

function peerColumn(
  shapes: Shapes,
  table: TableShape,
  names: readonly string[],
  alias: string,
  hops: number,
): PeerColumn | undefined {
  const own = table.columns.find(({ name }) => names.includes(plain(name)))
  if (own) return { sql: `${alias}.${quoteName(own.name)}`, label: `${table.name}.${own.name}` }
  for (const { kind, columns, target, definition } of hops === 0 ? [] : table.constraints) {
    const other = kind === 'f' && target !== null && target !== table.name ? shapes.get(target) : undefined
    const [column, referenced] = [columns[0], /REFERENCES [^(]+\(("?[^",)]+"?)\)/.exec(definition)?.[1]]
    if (!other || column === undefined || columns.length !== 1 || referenced === undefined) continue
    const found = peerColumn(shapes, other, names, `${alias}o`, hops - 1)
    if (!found) continue
    const sql = `(SELECT ${found.sql} FROM ${quoteName(other.name)} ${alias}o WHERE ${alias}o.${referenced} = ${alias}.${quoteName(column)})`
    return { sql, label: found.label }
  }
  return undefined
}

/** The column of that name, as a PeerColumn. Undefined: there is none. */
export function givenPeerColumn(table: TableShape | undefined, column: string): PeerColumn | undefined {
  const found = columnOf(table, column)
  return found && table
    ? { sql: `v.${quoteName(found.name)}`, label: `${table.name}.${found.name}` }
    : undefined
}

/** Twilio's message SIDs; everything else is taken for Meta's. */
export const TWILIO_ID = '^(SM|MM)[0-9a-fA-F]{32}$'

function plain(name: string): string {
  return name.toLowerCase().replaceAll('_', '')
}
