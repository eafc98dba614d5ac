/** The judgement over a run: the ledger on one side, the rows on the other. Pure. */
import { addToVerdict, createVerdict, totalOf } from '../../src/cli/simulate/auditor.ts'
import { personAt } from '../../src/cli/simulate/people.ts'
import { nameOfEvent } from '../../src/cli/simulate/stored-rows.ts'
import { EVICTED_REASON } from '../../src/worker/unusable-job.ts'
import type { Ledger } from '../load/ledger.ts'
import { textOf } from '../load/stream.ts'
import { findUnfinished, type StoredMessage, type StoredRows } from './stored-rows.ts'

export type Verdict = {
  /** Events, not webhooks. */
  sent: number
  acknowledged: number
  /** With at least one row. */
  stored: number
  /** With a row although no answer said so: allowed, the answer may have been late or lost. */
  storedUnacknowledged: number
  /** Copies beyond the first, wherever they are: as a row, parked beside it, or in quarantine. */
  doubled: number
  /** Acknowledged, and without a row. */
  lost: number
  /** Of these, how many the ledger does not excuse. */
  lostAgainstPromise: number
  /** Jobs whose data Redis has deleted: parked by their id, and not stored. */
  evicted: number
  /** A few names of each, to look for in the logs; of the lost events, those that may not be lost. */
  examples: { doubled: string[]; lost: string[] }
  /** Other faults of the rows, one line each. */
  faults: string[]
}

const EXAMPLES = 5

export function judge(ledger: Ledger, allRows: StoredRows): Verdict {
  const rows = { ...allRows, events: allRows.events.filter(({ reason }) => reason !== EVICTED_REASON) }
  const counts = countByName(rows)
  const verdict = createVerdict()
  for (const event of ledger.sent()) {
    addToVerdict(verdict, ledger, event, counts.get(nameOfEvent(ledger.key(event))) ?? 0)
  }
  const { sent, acknowledged, stored, storedUnacknowledged, copies, lost, lostAgainstPromise } =
    totalOf(verdict)
  const { doubledExamples, lostExamples } = verdict
  return {
    ...{ sent, acknowledged, stored, storedUnacknowledged, lost, lostAgainstPromise },
    doubled: copies + rows.quarantined,
    evicted: allRows.events.length - rows.events.length,
    examples: {
      doubled: doubledExamples.slice(0, EXAMPLES).map(nameOfEvent),
      lost: lostExamples.slice(0, EXAMPLES).map(nameOfEvent),
    },
    faults: findFaults(ledger, rows, counts),
  }
}

function findFaults(ledger: Ledger, rows: StoredRows, counts: ReadonlyMap<string, number>): string[] {
  const strangers = [...counts.keys()].filter((name) => ledger.find(name) === undefined)
  const parked = rows.events.filter(({ reason }) => reason !== null)
  const others = rows.events.filter(({ reason }) => reason === null)
  const unfinished = findUnfinished(rows)
  const storedRows = rows.messages.length + rows.statuses.length
  return [
    ...fault('stored and never sent', strangers),
    ...fault(
      'parked',
      parked.map(({ wa_message_id, reason }) => `${wa_message_id} (${reason})`),
    ),
    ...fault(
      'kept as something else than a message or status',
      others.map(({ kind }) => kind),
    ),
    ...fault('not in their final status', unfinished),
    ...fault('with another content than was sent', findAltered(ledger, rows)),
    ...fault('not announced as created exactly once', rows.misannounced),
    ...fault('people with more than one conversation', findForked(ledger, rows)),
    ...fault('conversations with more than one person', findMixed(ledger, rows)),
    ...(rows.counted === storedRows
      ? []
      : [`the service counted ${rows.counted} stored, the tables have ${storedRows}`]),
  ]
}

function fault(what: string, examples: readonly string[]): string[] {
  if (examples.length === 0) return []
  return [`${examples.length} ${what}: ${examples.slice(0, EXAMPLES).join(', ')}`]
}

function findAltered(ledger: Ledger, { messages }: StoredRows): string[] {
  return messages.filter((message) => isAltered(ledger, message)).map(({ wa_message_id }) => wa_message_id)
}

function isAltered(ledger: Ledger, message: StoredMessage): boolean {
  const event = sentMessage(ledger, message)
  if (event === undefined) return false
  return (
    message.direction !== (event.kind === 'message' ? 'inbound' : 'outbound') ||
    message.message_type !== 'text' ||
    message.content !== textOf(event) ||
    message.sent_at !== event.timestamp ||
    message.name !== personAt(event.person).name
  )
}

function sentMessage(ledger: Ledger, { wa_message_id }: Pick<StoredMessage, 'wa_message_id'>) {
  return ledger.find(nameOfEvent({ kind: 'message', wa_message_id }))?.event
}

/** People whose messages ended up in several conversations. */
function findForked(ledger: Ledger, rows: StoredRows): string[] {
  const pairs = pairsOf(ledger, rows).map(
    ([person, conversation]) => [`person ${person}`, conversation] as const,
  )
  return withSeveral(pairs)
}

/** Conversations in which several people's messages ended up. */
function findMixed(ledger: Ledger, rows: StoredRows): string[] {
  const pairs = pairsOf(ledger, rows).map(
    ([person, conversation]) => [`conversation ${conversation}`, person] as const,
  )
  return withSeveral(pairs)
}

function pairsOf(ledger: Ledger, { messages }: StoredRows): [person: string, conversation: string][] {
  return messages.flatMap(({ wa_message_id, conversation_id }) => {
    const person = sentMessage(ledger, { wa_message_id })?.person
    return person === undefined ? [] : [[String(person), conversation_id]]
  })
}

function withSeveral(pairs: readonly (readonly [name: string, other: string])[]): string[] {
  const others = new Map<string, Set<string>>()
  for (const [name, other] of pairs) others.set(name, (others.get(name) ?? new Set()).add(other))
  return [...others].filter(([, set]) => set.size > 1).map(([name]) => name)
}

function countByName({ messages, statuses, events }: StoredRows): Map<string, number> {
  const counts = new Map<string, number>()
  const add = (key: Parameters<typeof nameOfEvent>[0]) => {
    const name = nameOfEvent(key)
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  for (const { wa_message_id } of messages) add({ kind: 'message', wa_message_id })
  for (const status of statuses) add({ kind: 'status', ...status })
  for (const { wa_message_id } of events) if (wa_message_id !== null) add({ kind: 'message', wa_message_id })
  return counts
}
