/**
 * Column heuristics: which columns of an old chat system say who sent a message, and what the contact's phone and name are.
 *
 * They go by the names that such columns usually have. Where no name fits, nothing is guessed: a message counts as
 * received, and a conversation has a contact without a number.
 */
import type { ProviderName } from '../../core/event.ts'
import { quoteName, quoteText } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import { columnOf, type Shapes, type TableShape } from './shape.ts'

// Names are compared in lower case and without underscores.
const PHONE_NAMES = words(`
  phone phonenumber waid whatsappid whatsappnumber whatsappphone mobile msisdn customerphone
  customerphonenumber customernumber contactphone contactnumber contactwaid clientphone userphone
  fromnumber fromphone remotejid participantphone`)
const NAME_NAMES = words('name displayname fullname contactname customername profilename pushname')

const OUTBOUND_FLAGS = words('fromme isfromme isoutgoing outgoing isoutbound outbound sentbyus frombusiness')
const INBOUND_FLAGS = words('isincoming incoming isinbound inbound fromcustomer isfromcustomer fromuser')

const SENDER_NAMES = words('olddirection sender sendertype senderrole role author authortype sentby')
const OUTBOUND_WORDS = words(`
  out outgoing outbound sent agent bot business operator assistant admin staff system company me`)
const INBOUND_WORDS = words('in incoming inbound received user customer client contact guest lead')
/** A column with more different words than this does not say who sent a message. */
const MAX_WORDS = 10

export type PeerColumn = {
  /** SQL that reads it from row `v` of the table. */
  sql: string
  /** For people: table.column. */
  label: string
}

export type OutboundRule = {
  /** SQL over a row of chat_messages: true where the business sent it. */
  sql: string
  /** The column that it goes by: table.column. */
  label: string
}

/**
 * Finds the condition under which the business sent a message, as SQL over a row with its original names (see `sentBy`).
 * @returns `unclear` with the words where a column `direction` has unknown words; undefined where no column fits.
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
  const names = isDirectionOurs ? SENDER_NAMES : ['direction', ...SENDER_NAMES]
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

/** For the alias of a row: SQL that is true where the row meets the condition. */
export type RowCondition = (alias: string) => string

/** Makes a condition that uses the original names of columns work after some of them were renamed to old_…. */
export function sentBy(condition: string, messages: TableShape): RowCondition {
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

/** The name before the column was renamed. */
function originalName(name: string): string {
  return name.startsWith('old_') ? name.slice('old_'.length) : name
}

/** Finds the column with the contact's phone or name, in the table itself or up to two foreign keys away. */
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

/** The column of that name; undefined where there is none. */
export function givenPeerColumn(table: TableShape | undefined, column: string): PeerColumn | undefined {
  const found = columnOf(table, column)
  return found && table
    ? { sql: `v.${quoteName(found.name)}`, label: `${table.name}.${found.name}` }
    : undefined
}

/** What the adoption needs to know of a provider. */
export type AdoptedProvider = {
  name: ProviderName
  /** A regular expression of PostgreSQL that matches every message id of the provider, and no other id. */
  idPattern: string
  /** The business's own number with the provider; '': not known. */
  number: string
  /** The environment variable of that number. */
  numberVariable: string
}

/** SQL: the provider of the message with this id (an SQL expression); NULL where the id does not say it. */
export function providerOfId(id: string, providers: readonly AdoptedProvider[]): string {
  const cases = providers.map(
    ({ name, idPattern }) => `WHEN ${id} ~ ${quoteText(idPattern)} THEN ${quoteText(name)}`,
  )
  return `CASE ${cases.join(' ')} END`
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll('_', '')
}

function words(text: string): string[] {
  return text.trim().split(/\s+/)
}
