/**
 * The back-fill: messages that a provider has had and that never reached us as webhooks, read from its list and put
 * through the batch writer. Twilio does not deliver again after an outage, so nobody else closes that gap.
 *
 * The list is read day by day from the oldest, and a day from its newest entry, so a day counts as taken only when it was
 * read to its end: then the position moves, and a run that stops midway leaves no gap. What is younger than 15 minutes is
 * left to its webhook, and to the send that may be under way. Everything is safe to repeat, and to do twice at once.
 */
import type { Kysely } from 'kysely'
import type { ProviderName } from '../core/event.ts'
import type { FinalOutcome } from '../core/outcome.ts'
import type { EventStore } from '../db/ingest/event-store.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import {
  type BackfillKey,
  findStored,
  lastMessageAt,
  readPosition,
  savePosition,
} from '../db/outbox/backfill-positions.ts'
import type { Database } from '../db/schema.ts'
import {
  HistoryError,
  type HistoryPage,
  type ListedMessage,
  type MessageHistory,
} from '../providers/message-history.ts'
import type { Sender } from '../providers/sender.ts'
import { listedMessageItem, listedStatusItem } from './backfill-items.ts'
import { matchInDoubtSends } from './match-in-doubt-sends.ts'

export type BackfillOptions = {
  db: Kysely<Database>
  store: EventStore
  provider: ProviderName
  sender: Sender
  history: MessageHistory
  /** From when on; absent: from where the last run ended. */
  since?: Date | undefined
  isDryRun?: boolean
  signal: AbortSignal
  /** Asked before every call; false ends the run. */
  mayGoOn?: () => Promise<boolean>
  onProgress?: (report: BackfillReport, day: string) => void
}

export type BackfillReport = {
  since: Date
  /** What is later was left for the next run. */
  until: Date
  /** WhatsApp messages between the two. */
  examined: number
  /** Messages that were missing; in a dry run: are missing. */
  stored: number
  /** Words about messages that were missing. */
  statuses: number
  /** Entries that turned out to be sends of ours whose outcome was unknown. */
  identified: number
  /** Entries that may be such sends, and that nobody can tell. */
  held_back: number
  /** Messages that could not be stored as such, and are kept in `webhook_events`. */
  parked: number
  /** Entries of other channels (SMS). */
  other_channels: number
  /** It was ended before it had read everything. */
  stopped: boolean
}

type Run = BackfillOptions & { report: BackfillReport; key: BackfillKey }

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
/** A webhook has come by then, and no send is under way any more. */
const MIN_AGE_MS = 15 * MINUTE
/** What the list has shown late, and what became of messages since: their statuses are read again for so long. */
const OVERLAP_MS = 60 * MINUTE
/** Without a position: a day, or from the last message that is here, but no whole archive by itself. */
const FIRST_REACH_MS = DAY
const MAX_FIRST_REACH_MS = 30 * DAY

/** @throws HistoryError, or the driver's error; what was read until then is stored, and the next run goes on from there. */
export async function runBackfill(options: BackfillOptions): Promise<BackfillReport> {
  const { db, provider, history, isDryRun = false, signal } = options
  const key = { provider, account: history.account }
  const position = await readPosition(db, key)
  const since = options.since ?? (await startAfter(db, provider, position))
  const run: Run = { ...options, key, report: emptyReport(since) }
  // From later on than the position there would be a gap before it.
  const movesPosition = !isDryRun && (position === undefined || since <= position)
  try {
    for (const day of daysFrom(since)) {
      await takeDay(run, day)
      if (movesPosition) await savePosition(db, key, earlier(endOf(day), run.report.until))
    }
    return run.report
  } catch (err) {
    if (!signal.aborted && !(err instanceof StoppedError)) throw err
    return { ...run.report, stopped: true }
  }
}

class StoppedError extends Error {
  override name = 'StoppedError'
}

async function startAfter(
  db: Kysely<Database>,
  provider: ProviderName,
  position: Date | undefined,
): Promise<Date> {
  if (position !== undefined) return new Date(position.getTime() - OVERLAP_MS)
  const now = Date.now()
  const last = (await lastMessageAt(db, provider))?.getTime() ?? now
  return new Date(Math.max(Math.min(last - OVERLAP_MS, now - FIRST_REACH_MS), now - MAX_FIRST_REACH_MS))
}

async function takeDay(run: Run, day: string): Promise<void> {
  const { history, signal, report } = run
  const seen = new Set<string | undefined>()
  for (let cursor: string | undefined; ; ) {
    if (seen.has(cursor))
      throw new HistoryError('unexpected', 'the list of messages repeats itself; try again later')
    seen.add(cursor)
    await goOn(run)
    const page = await history.readPage({ day, cursor }, signal)
    // The provider's clock counts where ours is ahead: what came between the two would be taken for read.
    if (page.date !== undefined) report.until = earlier(report.until, ageLimit(page.date.getTime()))
    await takePage(run, page)
    run.onProgress?.({ ...report }, day)
    const isPast = page.newest !== undefined && page.newest < report.since
    if (page.next === undefined || isPast) return
    cursor = page.next
  }
}

async function takePage(run: Run, { messages, otherChannels }: HistoryPage): Promise<void> {
  const { db, provider, report, isDryRun = false, signal } = run
  report.other_channels += otherChannels
  const due = messages.filter(
    ({ created_at, sent_at = created_at }) => created_at <= report.until && sent_at >= report.since,
  )
  report.examined += due.length
  const stored = await findStored(
    db,
    due.map(({ wa_message_id }) => wa_message_id),
  )
  const missing = due.filter(({ wa_message_id }) => !stored.has(wa_message_id))
  const sorted = await matchInDoubtSends({ ...run, isDryRun }, missing, signal)
  report.identified += sorted.identified
  report.held_back += sorted.heldBack

  const receivedAt = Date.now()
  const statuses = [
    ...due.filter(({ wa_message_id }) => stored.has(wa_message_id)),
    ...sorted.others,
  ].flatMap((message) =>
    message.status === undefined || stored.get(message.wa_message_id)?.has(message.status)
      ? []
      : [listedStatusItem(provider, message, message.status, receivedAt)],
  )
  if (isDryRun) {
    report.stored += sorted.others.length
    report.statuses += statuses.length
    return
  }
  const items = await readItems(run, sorted.others, receivedAt)
  count(report, 'stored', await storeAll(run, items))
  count(report, 'statuses', await storeAll(run, statuses))
}

async function readItems(
  run: Run,
  messages: readonly ListedMessage[],
  receivedAt: number,
): Promise<StoreItem[]> {
  const items: StoreItem[] = []
  for (const message of messages) {
    if (message.files > 0) await goOn(run)
    const content = await run.history.readContent(message, run.signal)
    items.push(listedMessageItem(run.provider, message, content, receivedAt))
  }
  return items
}

/** @throws what keeps the database from taking them. */
async function storeAll({ store }: Run, items: readonly StoreItem[]): Promise<FinalOutcome[]> {
  const results = await Promise.all(items.map((item) => store.store(item)))
  return results.map((result) => {
    if (result.outcome === 'retry') throw result.cause
    return result.outcome
  })
}

function count(report: BackfillReport, name: 'stored' | 'statuses', outcomes: readonly FinalOutcome[]): void {
  for (const outcome of outcomes) {
    if (outcome === 'parked') report.parked++
    else if (outcome !== 'duplicate') report[name]++
  }
}

async function goOn({ signal, mayGoOn }: Run): Promise<void> {
  if (signal.aborted || (await mayGoOn?.()) === false) throw new StoppedError('stopped')
}

function emptyReport(since: Date): BackfillReport {
  return {
    since,
    until: ageLimit(Date.now()),
    examined: 0,
    stored: 0,
    statuses: 0,
    identified: 0,
    held_back: 0,
    parked: 0,
    other_channels: 0,
    stopped: false,
  }
}

function ageLimit(now: number): Date {
  return new Date(now - MIN_AGE_MS)
}

/** Days in GMT, up to today. */
function daysFrom(since: Date): string[] {
  const days: string[] = []
  const first = Date.parse(dayOf(since.getTime()))
  for (let time = first; time <= Date.now(); time += DAY) days.push(dayOf(time))
  return days
}

function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}

function endOf(day: string): Date {
  return new Date(Date.parse(day) + DAY)
}

function earlier(one: Date, other: Date): Date {
  return one < other ? one : other
}
