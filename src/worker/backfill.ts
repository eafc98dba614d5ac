/**
 * The back-fill stores messages whose webhooks never came: it reads the provider's list and passes what is missing to the
 * batch writer. Twilio does not deliver a webhook again after an outage.
 *
 * The list is read day by day, oldest day first, each day from its newest entry. The position moves when a day was read to
 * its end, so a run that stops leaves no gap. Messages younger than 15 minutes are left to their webhooks, and to sends that
 * are under way. Safe to repeat, and to run twice at the same time.
 */
import type { Kysely } from 'kysely'
import type { FinalOutcome, ProviderName } from '../core/event.ts'
import type { EventStore } from '../db/ingest/event-store.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import { storeUntilFinal } from '../db/ingest/store-until-final.ts'
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
  /** Absent: from where the last run ended. */
  since?: Date | undefined
  isDryRun?: boolean
  signal: AbortSignal
  /** Called before every request; false ends the run. */
  mayContinue?: () => Promise<boolean>
  onProgress?: (report: BackfillReport, day: string) => void
}

export type BackfillReport = {
  since: Date
  /** Later messages were left to the next run. */
  until: Date
  /** WhatsApp messages between the two. */
  examined: number
  /** Missing messages that were stored; in a dry run: that are missing. */
  stored: number
  /** Missing statuses that were stored. */
  statuses: number
  /** Entries that were matched with in-doubt sends. */
  identified: number
  /** Entries that may be in-doubt sends, without certainty. */
  held_back: number
  /** Messages that could not be stored as such, and are kept in `webhook_events`. */
  parked: number
  /** Entries of other channels (SMS). */
  other_channels: number
  /** The run ended before it had read everything. */
  stopped: boolean
}

type Run = BackfillOptions & { report: BackfillReport; key: BackfillKey }

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
/** By then the webhook has come, and no send is under way any more. */
const MIN_AGE_MS = 15 * MINUTE
/** How far each run reads back before the position: for entries that the list showed late, and for later statuses. */
const OVERLAP_MS = 60 * MINUTE
/** Without a position: at least a day back, further to the last stored message, and no whole archive. */
const FIRST_REACH_MS = DAY
const MAX_FIRST_REACH_MS = 30 * DAY

/**
 * @throws HistoryError, or the driver's error; what was read until then is stored, and the next run goes on from there.
 */
export async function runBackfill(options: BackfillOptions): Promise<BackfillReport> {
  const { db, provider, history, isDryRun = false, signal } = options
  const key = { provider, account: history.account }
  const position = await readPosition(db, key)
  const since = options.since ?? (await findStart(db, provider, position))
  const run: Run = { ...options, key, report: emptyReport(since) }
  // A run that begins after the position leaves a gap before it, so it does not move the position.
  const movesPosition = !isDryRun && (position === undefined || since <= position)
  try {
    for (const day of daysFrom(since)) {
      await backFillDay(run, day)
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

async function findStart(
  db: Kysely<Database>,
  provider: ProviderName,
  position: Date | undefined,
): Promise<Date> {
  if (position !== undefined) return new Date(position.getTime() - OVERLAP_MS)
  const now = Date.now()
  const last = (await lastMessageAt(db, provider))?.getTime() ?? now
  return new Date(Math.max(Math.min(last - OVERLAP_MS, now - FIRST_REACH_MS), now - MAX_FIRST_REACH_MS))
}

async function backFillDay(run: Run, day: string): Promise<void> {
  const { history, signal, report } = run
  const seen = new Set<string | undefined>()
  for (let cursor: string | undefined; ; ) {
    if (seen.has(cursor))
      throw new HistoryError('unexpected', 'the list of messages repeats itself; try again later')
    seen.add(cursor)
    await throwIfStopped(run)
    const page = await history.readPage({ day, cursor }, signal)
    // Where our clock is ahead, the provider's counts: else messages of the time between would count as read.
    if (page.date !== undefined) report.until = earlier(report.until, ageLimit(page.date.getTime()))
    await backFillPage(run, page)
    run.onProgress?.({ ...report }, day)
    const reachesStart = page.newest !== undefined && page.newest < report.since
    if (page.next === undefined || reachesStart) return
    cursor = page.next
  }
}

async function backFillPage(run: Run, { messages, otherChannels }: HistoryPage): Promise<void> {
  const { db, provider, sender, report, isDryRun = false, signal } = run
  const source = { provider, jobIds: sender.jobIds }
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
  const matched = await matchInDoubtSends({ ...run, isDryRun }, missing, signal)
  report.identified += matched.identified
  report.held_back += matched.heldBack

  const receivedAt = Date.now()
  const known = due.filter(({ wa_message_id }) => stored.has(wa_message_id))
  const statuses = [...known, ...matched.others]
    .filter(({ wa_message_id, status }) => !stored.get(wa_message_id)?.has(status ?? ''))
    .flatMap((message) =>
      message.status === undefined ? [] : [listedStatusItem(source, message, message.status, receivedAt)],
    )
  if (isDryRun) {
    report.stored += matched.others.length
    report.statuses += statuses.length
    return
  }
  const items = await readItems(run, matched.others, receivedAt)
  countOutcomes(report, 'stored', await storeAll(run, items))
  countOutcomes(report, 'statuses', await storeAll(run, statuses))
}

async function readItems(
  run: Run,
  messages: readonly ListedMessage[],
  receivedAt: number,
): Promise<StoreItem[]> {
  const items: StoreItem[] = []
  for (const message of messages) {
    if (message.files > 0) await throwIfStopped(run)
    const content = await run.history.readContent(message, run.signal)
    items.push(
      listedMessageItem({ provider: run.provider, jobIds: run.sender.jobIds }, message, content, receivedAt),
    )
  }
  return items
}

/** @throws the driver's error when the database does not take them. */
async function storeAll({ store }: Run, items: readonly StoreItem[]): Promise<FinalOutcome[]> {
  return Promise.all(items.map((item) => storeUntilFinal(store, item)))
}

function countOutcomes(
  report: BackfillReport,
  name: 'stored' | 'statuses',
  outcomes: readonly FinalOutcome[],
): void {
  for (const outcome of outcomes) {
    if (outcome === 'parked') report.parked++
    else if (outcome !== 'duplicate') report[name]++
  }
}

async function throwIfStopped({ signal, mayContinue }: Run): Promise<void> {
  if (signal.aborted || (await mayContinue?.()) === false) throw new StoppedError('stopped')
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
