/** Where the content of our columns comes from in an old schema, and the assumptions where it says nothing. */
import type { ProviderName } from '../../core/event.ts'
import { detailOf } from '../../core/fact.ts'
import { parseName, spellingsOf } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import {
  type AdoptedProvider,
  findOutboundRule,
  findPeerColumn,
  givenPeerColumn,
  type PeerColumn,
  type RowCondition,
  sentBy,
} from './column-heuristics.ts'
import { type Conflict, isInteger } from './conflicts.ts'
import { type ColumnShape, type ConstraintShape, columnOf, type Shapes, type TableShape } from './shape.ts'

export type SourceOptions = {
  /** SQL over a row of chat_messages: true where the business sent it. */
  outboundWhen?: string
  /** `table.column` with the contact's phone. */
  phoneColumn?: string
  /** The provider of messages whose id does not say it. */
  provider?: ProviderName
  /** The providers that a message can be of. Where nothing says which, it is the first with a number, else the first. */
  providers: readonly AdoptedProvider[]
}

type PeerColumns = { phone?: PeerColumn | undefined; name?: PeerColumn | undefined }

export type Sources = {
  /** The column of chat_messages that tells conversations apart. Absent: all messages are one conversation. */
  group?: string | undefined
  /** Whether `group` has the ids of conversations. */
  hasConversationIds: boolean
  /** The contact's phone and name, from the old conversation (row `v`) and from the messages (row `v`). */
  ofConversation: PeerColumns
  ofMessage: PeerColumns
  /** Which rows of chat_messages the business sent. Absent: nothing says it. */
  outbound?: RowCondition | undefined
  provider: ProviderName
  providers: readonly AdoptedProvider[]
  /** By table and column: the values of columns that old rows do not have and old writers do not set. */
  defaults: Record<string, Record<string, string>>
  notes: string[]
  obstacles: string[]
}

export async function findSources(
  query: Query,
  current: Shapes,
  conflicts: readonly Conflict[],
  options: SourceOptions,
): Promise<Sources> {
  const shapes = afterRenaming(current, conflicts)
  const messages = current.get('chat_messages')?.kind === 'r' ? shapes.get('chat_messages') : undefined
  const findings = { notes: [], obstacles: [] }
  const provider = options.provider ?? (await findProvider(query, messages, options))
  const outbound = await findOutbound(query, current.get('chat_messages'), messages, options, findings)
  const isAside = columnOf(messages, 'old_conversation_id') !== undefined
  const hasConversationIds = !isAside && isInteger(columnOf(messages, 'conversation_id')?.type)
  const group = isAside ? 'old_conversation_id' : hasConversationIds ? 'conversation_id' : undefined
  const phone = findPhone(shapes, messages, options, findings)
  const { providers } = options
  const own = providers.find(({ name }) => name === provider)
  if (messages) noteAssumptions(findings, { phone, group, own })
  const peerColumns = (table: Phone['table'], shape: TableShape | undefined): PeerColumns => ({
    phone: phone?.table === table ? phone : undefined,
    name: findPeerColumn(shapes, shape, 'name'),
  })
  return {
    group,
    hasConversationIds,
    ofConversation: peerColumns('conversations', shapes.get('conversations')),
    ofMessage: peerColumns('chat_messages', messages),
    outbound,
    provider,
    providers,
    defaults: {
      chat_messages: {
        direction: 'inbound',
        source: 'backfill',
        detail: String(detailOf('backfill', false)),
        message_type: 'text',
        provider,
      },
      conversations: { provider, business_number: own?.number ?? '' },
    },
    ...findings,
  }
}

type Findings = { notes: string[]; obstacles: string[] }

/** The old tables with the names that they and their columns will have once the conflicts are set aside. */
function afterRenaming(shapes: Shapes, conflicts: readonly Conflict[]): Shapes {
  const isAside = (table: string, column?: string) =>
    conflicts.some((conflict) => conflict.table === table && conflict.column === column)
  const nameOf = (table: string) => (isAside(table) ? `old_${table}` : table)
  const columnName = (table: string, column: string) => (isAside(table, column) ? `old_${column}` : column)
  return new Map(
    [...shapes.values()].map((shape) => {
      const renamed: TableShape = {
        ...shape,
        name: nameOf(shape.name),
        columns: shape.columns.map(
          (column): ColumnShape => ({ ...column, name: columnName(shape.name, column.name) }),
        ),
        constraints: shape.constraints.map(
          (constraint): ConstraintShape => ({
            ...constraint,
            columns: constraint.columns.map((column) => columnName(shape.name, column)),
            target: constraint.target === null ? null : nameOf(constraint.target),
          }),
        ),
      }
      return [renamed.name, renamed]
    }),
  )
}

async function findProvider(
  query: Query,
  messages: TableShape | undefined,
  { providers }: SourceOptions,
): Promise<ProviderName> {
  const configured = (providers.find(({ number }) => number !== '') ?? providers[0])?.name ?? ''
  if (columnOf(messages, 'wa_message_id') === undefined) return configured
  const { rows } = await query<{ provider: ProviderName }>(
    `SELECT p.provider FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p(provider, pattern, place)
       CROSS JOIN LATERAL (SELECT count(*) AS count FROM chat_messages WHERE wa_message_id::text ~ p.pattern) m
     WHERE m.count > 0 ORDER BY m.count DESC, p.place LIMIT 1`,
    [providers.map(({ name }) => name), providers.map(({ idPattern }) => idPattern)],
  )
  return rows[0]?.provider ?? configured
}

/** The condition is tried on the table as it is, and returned for the table as it will be. */
async function findOutbound(
  query: Query,
  current: TableShape | undefined,
  renamed: TableShape | undefined,
  { outboundWhen }: SourceOptions,
  { notes, obstacles }: Findings,
): Promise<RowCondition | undefined> {
  if (!current || !renamed) return undefined
  if (outboundWhen !== undefined) {
    const refusal = await tryCondition(query, sentBy(outboundWhen, current))
    if (refusal !== undefined)
      obstacles.push(`--outbound-when is no condition on a row of chat_messages: ${refusal}`)
    return sentBy(outboundWhen, renamed)
  }
  const isDirectionOurs =
    columnOf(renamed, 'direction') !== undefined && columnOf(renamed, 'old_direction') === undefined
  const rule = await findOutboundRule(query, current, isDirectionOurs)
  if (rule === undefined) {
    if (!isDirectionOurs)
      notes.push(
        'Nothing says which messages the business sent, so all count as received; if something does, give it: --outbound-when "<condition on chat_messages>".',
      )
    return undefined
  }
  if ('unclear' in rule) {
    obstacles.push(
      `${rule.unclear} says who sent a message in words that are not known; run: npx wa-ingest migrate --rename-old --outbound-when "<condition on chat_messages, true where the business sent it>"`,
    )
    return undefined
  }
  notes.push(`Which messages the business sent is taken from ${rule.label}.`)
  return sentBy(rule.sql, renamed)
}

async function tryCondition(query: Query, sent: RowCondition): Promise<string | undefined> {
  try {
    await query(`SELECT ${sent('m')} AND true FROM chat_messages m LIMIT 1`)
    return undefined
  } catch (err) {
    return err instanceof Error ? err.message : String(err)
  }
}

type Phone = PeerColumn & { table: 'conversations' | 'chat_messages' }

function findPhone(
  shapes: Shapes,
  messages: TableShape | undefined,
  { phoneColumn }: SourceOptions,
  { obstacles }: Findings,
): Phone | undefined {
  if (phoneColumn === undefined) {
    const ofConversation = findPeerColumn(shapes, shapes.get('conversations'), 'phone')
    if (ofConversation) return { ...ofConversation, table: 'conversations' }
    const ofMessage = findPeerColumn(shapes, messages, 'phone')
    return ofMessage && { ...ofMessage, table: 'chat_messages' }
  }
  const [table, column] = parseName(phoneColumn).map((part) => spellingsOf(part)[0] ?? '')
  if (table === 'conversations' || table === 'chat_messages') {
    const given = givenPeerColumn(shapes.get(table), column ?? '')
    if (given) return { ...given, table }
  }
  obstacles.push(
    `--phone-column ${phoneColumn}: there is no such column; give conversations.<column> or chat_messages.<column>`,
  )
  return undefined
}

function noteAssumptions(
  { notes }: Findings,
  {
    phone,
    group,
    own,
  }: Pick<Sources, 'group'> & { phone: Phone | undefined; own: AdoptedProvider | undefined },
): void {
  notes.push(
    phone === undefined
      ? 'No column has the phone of the other side, so new messages of these people begin new conversations; if one does, give it: --phone-column conversations.<column>.'
      : `The phone of the other side is taken from ${phone.label}.`,
  )
  if (group === undefined) notes.push('Nothing tells conversations apart: all messages are in one.')
  if (own?.number === '')
    notes.push(
      `The business's own number is not known, so new messages begin new conversations; set ${own.numberVariable} before, or give --business-number.`,
    )
}
