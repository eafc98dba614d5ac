/**
 * The audit: every acknowledged event has exactly one row in the database, counted there and nowhere else.
 *
 * It waits until nothing is missing, then until the service has come to rest, and only then counts: a second copy could
 * still be on its way when the first is stored.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { readCounts } from '../../db/counters.ts'
import type { Database } from '../../db/schema.ts'
import { isDatabaseAway } from './database-away.ts'
import type { Delivery } from './delivery.ts'
import { countParked, countRows } from './stored-rows.ts'
import type { Traffic } from './traffic.ts'
import { judge, type Verdict } from './verdict.ts'

export type AuditSettings = {
  db: Kysely<Database>
  traffic: Traffic
  delivery: Pick<Delivery, 'wasSent' | 'wasAcknowledged'>
  /** How many events are in the acknowledged webhooks. */
  acknowledged: number
  /** Gives up when nothing more was stored for this long. */
  timeoutMs: number
  signal: AbortSignal
  onProgress: (stored: number) => void
}

export type Audit = Verdict & {
  /** Until nothing was missing any more, or the waiting was given up. */
  waitedMs: number
  /** Of the lost ones that were looked at, how many were parked for each reason. */
  parked: Map<string, number>
}

const IDS_PER_QUERY = 2_000
const LOOK_AGAIN_AFTER_MS = 200
/** No batch of the service takes longer than this between two changes of its counters while it is at work. */
const REST_MS = 300
/** Other traffic may never come to rest. */
const LONGEST_WAIT_FOR_REST_MS = 5_000

/** @throws the signal's reason when it aborts; the database's error unless it is away and comes back in time. */
export async function auditRun(settings: AuditSettings): Promise<Audit> {
  const startedAt = performance.now()
  const away = patience(settings)
  const rows = new Uint8Array(settings.traffic.eventCount)
  await waitUntilStored(settings, rows, away)
  const waitedMs = performance.now() - startedAt
  await waitForRest(settings, away)

  for (const events of batches(settings, (_, webhook) => settings.delivery.wasSent(webhook))) {
    await countInto(settings, rows, events, away)
  }
  const verdict = judge(settings.traffic, settings.delivery, rows)
  const parked = await away(() => countParked(settings.db, verdict.lostExamples))
  return { ...verdict, waitedMs, parked }
}

/** Looks for what is missing, again and again, until there is nothing or nothing more comes. */
async function waitUntilStored(settings: AuditSettings, rows: Uint8Array, away: Patience): Promise<void> {
  const { delivery, acknowledged, signal, timeoutMs, onProgress } = settings
  const isMissing = (event: number, webhook: number) => rows[event] === 0 && delivery.wasAcknowledged(webhook)
  let stored = 0
  let lastFoundAt = performance.now()
  while (stored < acknowledged) {
    const lookedAt = performance.now()
    for (const events of batches(settings, isMissing)) {
      const found = await countInto(settings, rows, events, away)
      stored += found
      if (found > 0) lastFoundAt = performance.now()
      onProgress(stored)
    }
    if (performance.now() - lastFoundAt >= timeoutMs) return
    // Looking takes at most half of the time, so that it does not slow down what it waits for.
    const tookMs = performance.now() - lookedAt
    if (stored < acknowledged) await sleep(Math.max(LOOK_AGAIN_AFTER_MS, tookMs), undefined, { signal })
  }
}

/** Every batch of the service counts something, a duplicate at least: unchanged totals mean that none is at work. */
async function waitForRest({ db, signal }: AuditSettings, away: Patience): Promise<void> {
  const startedAt = performance.now()
  let before = ''
  while (performance.now() - startedAt < LONGEST_WAIT_FOR_REST_MS) {
    const after = JSON.stringify(await away(() => readCounts(db)))
    if (after === before) return
    before = after
    await sleep(REST_MS, undefined, { signal })
  }
}

/** The run's events that pass, in the order in which they were first sent. */
function* batches(
  { traffic }: AuditSettings,
  passes: (event: number, webhook: number) => boolean,
): Generator<number[]> {
  let batch: number[] = []
  for (let webhook = 0; webhook < traffic.webhookCount; webhook++) {
    for (const event of traffic.eventsOf(webhook)) if (passes(event, webhook)) batch.push(event)
    if (batch.length >= IDS_PER_QUERY) {
      yield batch
      batch = []
    }
  }
  if (batch.length > 0) yield batch
}

/** Notes the rows of these events; the result is how many have any. */
async function countInto(
  { db, traffic, signal }: AuditSettings,
  rows: Uint8Array,
  events: readonly number[],
  away: Patience,
): Promise<number> {
  signal.throwIfAborted()
  const counts = await away(() => countRows(db, events.map(traffic.key)))
  let found = 0
  events.forEach((event, index) => {
    const count = counts[index] ?? 0
    rows[event] = Math.min(count, 255)
    if (count > 0) found++
  })
  return found
}

type Patience = <T>(query: () => Promise<T>) => Promise<T>

/** A database that is restarting is asked again, for as long as a webhook would be sent again. */
function patience({ timeoutMs, signal }: AuditSettings): Patience {
  return async (query) => {
    const startedAt = performance.now()
    for (;;) {
      try {
        return await query()
      } catch (err) {
        signal.throwIfAborted()
        if (!isDatabaseAway(err) || performance.now() - startedAt >= timeoutMs) throw err
        await sleep(LOOK_AGAIN_AFTER_MS, undefined, { signal })
      }
    }
  }
}
