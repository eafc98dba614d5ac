/** How long the service needs to be itself again, from a moment on. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Auditor } from './audit/auditor.ts'
import { METRICS_TOKEN, type World } from './world/world.ts'

export type Recovery = {
  /** Until a webhook was acknowledged by the queue. */
  queuedMs: number
  /** Until all that had been acknowledged before is stored. */
  backlogMs: number
}

const POLL_MS = 50
const SCRAPE_TIMEOUT_MS = 2_000

/** @returns undefined when it takes longer than `timeoutMs`. */
export async function measureRecovery(
  world: World,
  auditor: Auditor,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<Recovery | undefined> {
  const backAt = performance.now()
  const elapsedMs = async (condition: () => Promise<boolean>) => {
    while (performance.now() - backAt < timeoutMs) {
      signal.throwIfAborted()
      if (await condition().catch(() => false)) return Math.round(performance.now() - backAt)
      await sleep(POLL_MS, undefined, { signal })
    }
    return undefined
  }
  const counters = await Promise.all(world.urls.map(createQueuedCounter))
  const [queuedMs, backlogMs] = await Promise.all([
    elapsedMs(async () => (await Promise.all(counters.map((hasQueued) => hasQueued()))).every(Boolean)),
    elapsedMs(async () => (await auditor.countMissing(backAt)) === 0),
  ])
  return queuedMs === undefined || backlogMs === undefined ? undefined : { queuedMs, backlogMs }
}

/** Whether the receiver has put a webhook on the queue since this was made. */
async function createQueuedCounter(url: string): Promise<() => Promise<boolean>> {
  let before = await readQueued(url).catch(() => undefined)
  return async () => {
    const queued = await readQueued(url)
    // A receiver that was away at first, or was started again since, counts from where it is found.
    if (before === undefined || queued < before) before = queued
    return queued > before
  }
}

async function readQueued(url: string): Promise<number> {
  const response = await fetch(new URL('/metrics', url), {
    headers: { authorization: `Bearer ${METRICS_TOKEN}` },
    signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS),
  })
  const text = await response.text()
  const lines = text.matchAll(/^wa_ingest_webhooks_total\{[^}]*result="queued"[^}]*\} (\d+)/gm)
  return [...lines].reduce((total, [, count]) => total + Number(count), 0)
}
