/** The audit of a run of `simulate`: waits until what was acknowledged is stored, and counts what is in the database. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { readCounts } from '../../db/counters.ts'
import type { Database } from '../../db/schema.ts'
import { createAuditor, type Ledger, retryWhileAway, type Verdict } from './auditor.ts'
import type { Delivery } from './delivery.ts'
import { countParked } from './stored-rows.ts'
import type { Traffic } from './traffic.ts'

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
  /** Of the lost events in `lostExamples`, how many were parked for each reason. */
  parked: Map<string, number>
}

const POLL_MS = 200
/** No batch of the service takes longer than this between two changes of its counters while it is at work. */
const REST_MS = 300
/** Other traffic may never come to rest. */
const LONGEST_WAIT_FOR_REST_MS = 5_000

/** @throws the signal's reason when it aborts; the database's error unless it is away and comes back in time. */
export async function auditRun(settings: AuditSettings): Promise<Audit> {
  const { db, acknowledged, timeoutMs, signal, onProgress } = settings
  const startedAt = performance.now()
  const auditor = createAuditor({ db, ledger: ledgerOf(settings), signal, retryMs: timeoutMs })
  await auditor.waitUntilStored({
    ...{ patienceMs: timeoutMs, pollMs: POLL_MS },
    onProgress: (missing) => onProgress(acknowledged - missing),
  })
  const waitedMs = performance.now() - startedAt
  await waitForRest(settings)
  const verdict = await auditor.audit()
  const parked = await retryWhileAway(() => countParked(db, verdict.lostExamples), timeoutMs, signal)
  return { ...verdict, waitedMs, parked }
}

/** Every batch of the service counts something, a duplicate at least: unchanged totals mean that none is at work. */
async function waitForRest({ db, timeoutMs, signal }: AuditSettings): Promise<void> {
  const startedAt = performance.now()
  let before = ''
  while (performance.now() - startedAt < LONGEST_WAIT_FOR_REST_MS) {
    const after = JSON.stringify(await retryWhileAway(() => readCounts(db), timeoutMs, signal))
    if (after === before) return
    before = after
    await sleep(REST_MS, undefined, { signal })
  }
}

/** One bit for each event that was seen in the database: a run may have millions. */
function ledgerOf({ traffic, delivery }: AuditSettings): Ledger {
  const isStored = new Uint8Array(traffic.eventCount)
  const isAcknowledged = new Uint8Array(traffic.eventCount)
  function* sent(passes: (event: number) => boolean) {
    for (let webhook = 0; webhook < traffic.webhookCount; webhook++) {
      if (!delivery.wasSent(webhook)) continue
      for (const event of traffic.eventsOf(webhook)) if (passes(event)) yield event
    }
  }
  for (let webhook = 0; webhook < traffic.webhookCount; webhook++) {
    if (delivery.wasAcknowledged(webhook))
      for (const event of traffic.eventsOf(webhook)) isAcknowledged[event] = 1
  }
  return {
    key: traffic.key,
    sent: () => sent(() => true),
    isAcknowledged: (event) => isAcknowledged[event] === 1,
    awaited: () => sent((event) => isAcknowledged[event] === 1 && isStored[event] === 0),
    recordStored: (event) => {
      isStored[event] = 1
    },
  }
}
