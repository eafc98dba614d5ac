/**
 * The auditor of `simulate`, bench/ and chaos/: every acknowledged event must have exactly one row in the database.
 *
 * It counts rows in the database and nowhere else, and only when the service is at rest: a second copy could still be on
 * its way when the first one is stored.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { isUnavailable } from '../../db/errors.ts'
import type { Database } from '../../db/schema.ts'
import { countRows } from './stored-rows.ts'
import type { EventKey } from './traffic.ts'

/** What was sent, and what the service answered. Every event has a number. */
export type Ledger = {
  key(event: number): EventKey
  /** Every event that was sent, once. */
  sent(): Iterable<number>
  isAcknowledged(event: number): boolean
  /** The documented limit of a fault: this event may be gone although it was acknowledged. */
  mayBeLost?(event: number): boolean
  /** Events that were acknowledged, must be stored, and were not reported to `recordStored` yet. */
  awaited(): Iterable<number>
  recordStored(event: number): void
}

export type EventCounts = {
  sent: number
  acknowledged: number
  /** Has at least one row. */
  stored: number
  /** Has more than one row. */
  doubled: number
  /** Rows beyond the first of each event. */
  copies: number
  /** Acknowledged, and has no row. */
  lost: number
  /** Lost, and the ledger does not allow it. */
  lostAgainstPromise: number
  /** Has a row although no answer said so: allowed, the answer may have been late or lost. */
  storedUnacknowledged: number
}

export type Verdict = {
  messages: EventCounts
  statuses: EventCounts
  /** The first few of each; of the lost events, those that may not be lost. */
  doubledExamples: EventKey[]
  lostExamples: EventKey[]
}

export type WaitOptions = {
  /** Gives up when nothing has changed for this long. */
  patienceMs: number
  /** Between two looks, unless a look takes longer. */
  pollMs: number
  /** Text that changes while the service is at work, and is empty when it is at rest. */
  readActivity?: () => Promise<string>
  onProgress?: (missing: number) => void
}

export type Auditor = {
  /** How many awaited events are not stored. `passes`: only these are looked for. */
  countMissing(passes?: (event: number) => boolean): Promise<number>
  /** Waits until no awaited event is missing and the service is at rest. */
  waitUntilStored(options: WaitOptions): Promise<void>
  /** Counts the rows of every event that was sent. */
  audit(): Promise<Verdict>
}

export type AuditorOptions = {
  db: Kysely<Database>
  ledger: Ledger
  signal: AbortSignal
  /** A query is repeated for this long while the database is away (0: the error is thrown). */
  retryMs?: number
}

const EVENTS_PER_QUERY = 2_000
const EXAMPLES = 100
const RETRY_DELAY_MS = 200

/** Its methods throw the signal's reason when it aborts, and the database's error. */
export function createAuditor({ db, ledger, signal, retryMs = 0 }: AuditorOptions): Auditor {
  const rowsOf = (events: readonly number[]) =>
    retryWhileAway(() => countRows(db, events.map(ledger.key)), retryMs, signal)

  async function countMissing(passes: (event: number) => boolean = () => true): Promise<number> {
    let missing = 0
    for (const events of batchesOf(ledger.awaited(), passes)) {
      const counts = await rowsOf(events)
      events.forEach((event, index) => {
        if (counts[index] === 0) missing++
        else ledger.recordStored(event)
      })
    }
    return missing
  }

  return {
    countMissing,
    async waitUntilStored({ patienceMs, pollMs, readActivity = async () => '', onProgress }) {
      let lastChangeAt = performance.now()
      let before = ''
      for (;;) {
        const lookedAt = performance.now()
        const [missing, activity] = [await countMissing(), await readActivity()]
        onProgress?.(missing)
        if (missing === 0 && activity === '') return
        const now = performance.now()
        const state = `${missing} ${activity}`
        if (state !== before) lastChangeAt = now
        before = state
        if (now - lastChangeAt >= patienceMs) return
        // Looking takes at most half of the time, so that it does not slow down what it waits for.
        await sleep(Math.max(pollMs, now - lookedAt), undefined, { signal })
      }
    },
    async audit() {
      const verdict = createVerdict()
      for (const events of batchesOf(ledger.sent())) {
        const counts = await rowsOf(events)
        events.forEach((event, index) => {
          addToVerdict(verdict, ledger, event, counts[index] ?? 0)
        })
      }
      return verdict
    },
  }
}

export function createVerdict(): Verdict {
  return { messages: noCounts(), statuses: noCounts(), doubledExamples: [], lostExamples: [] }
}

/** Judges one event, of which `rows` rows are stored. */
export function addToVerdict(
  verdict: Verdict,
  ledger: Pick<Ledger, 'key' | 'isAcknowledged' | 'mayBeLost'>,
  event: number,
  rows: number,
): void {
  const key = ledger.key(event)
  const counts = key.kind === 'message' ? verdict.messages : verdict.statuses
  counts.sent++
  if (rows > 0) counts.stored++
  if (rows > 1) {
    counts.doubled++
    counts.copies += rows - 1
    if (verdict.doubledExamples.length < EXAMPLES) verdict.doubledExamples.push(key)
  }
  if (!ledger.isAcknowledged(event)) {
    if (rows > 0) counts.storedUnacknowledged++
    return
  }
  counts.acknowledged++
  if (rows > 0) return
  counts.lost++
  if (ledger.mayBeLost?.(event)) return
  counts.lostAgainstPromise++
  if (verdict.lostExamples.length < EXAMPLES) verdict.lostExamples.push(key)
}

/** Messages and statuses together. */
export function totalOf({ messages, statuses }: Verdict): EventCounts {
  const total = { ...messages }
  for (const name of Object.keys(total) as (keyof EventCounts)[]) total[name] += statuses[name]
  return total
}

/** A ledger of events that were all acknowledged. */
export function ledgerOfKeys(keys: readonly EventKey[]): Ledger {
  const awaited = new Set(keys.keys())
  return {
    key: (event) => keys[event] as EventKey,
    sent: () => keys.keys(),
    isAcknowledged: () => true,
    awaited: () => awaited,
    recordStored: (event) => awaited.delete(event),
  }
}

function noCounts(): EventCounts {
  return {
    ...{ sent: 0, acknowledged: 0, stored: 0, storedUnacknowledged: 0 },
    ...{ doubled: 0, copies: 0, lost: 0, lostAgainstPromise: 0 },
  }
}

function* batchesOf(
  events: Iterable<number>,
  passes: (event: number) => boolean = () => true,
): Generator<number[]> {
  let batch: number[] = []
  for (const event of events) {
    if (!passes(event)) continue
    batch.push(event)
    if (batch.length < EVENTS_PER_QUERY) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

/** Repeats a query while the database is away, for this long at most. */
export async function retryWhileAway<T>(
  query: () => Promise<T>,
  retryMs: number,
  signal: AbortSignal,
): Promise<T> {
  const startedAt = performance.now()
  for (;;) {
    signal.throwIfAborted()
    try {
      return await query()
    } catch (err) {
      signal.throwIfAborted()
      if (!isUnavailable(err) || performance.now() - startedAt >= retryMs) throw err
      await sleep(RETRY_DELAY_MS, undefined, { signal })
    }
  }
}
