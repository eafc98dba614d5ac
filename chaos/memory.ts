/** Resident memory of every process of the service, and what Redis says that it uses, over time. */
import { median } from '../rig/statistics.ts'
import { servicesOf, type World } from './world/world.ts'

export type MemorySample = { atMs: number; bytes: Record<string, number> }

export type MemoryReport = {
  /** By process; `redis` is its `used_memory`. */
  peakBytes: Record<string, number>
  samples: MemorySample[]
}

export type MemoryWatch = { stop(): MemoryReport }

const SAMPLE_EVERY_MS = 500
/** Enough points for a chart of half an hour. */
const KEEP_EVERY_MS = 5_000

export function watchMemory(world: World): MemoryWatch {
  const startedAt = performance.now()
  const report: MemoryReport = { peakBytes: {}, samples: [] }
  let isAsking = false
  let redisBytes: number | undefined

  async function askRedis(): Promise<void> {
    if (isAsking || world.redis === undefined) return
    isAsking = true
    redisBytes = await world.redis.memoryBytes().catch(() => undefined)
    isAsking = false
  }

  function sample(): void {
    const bytes: Record<string, number> = {}
    for (const service of servicesOf(world)) {
      const rss = service.rssBytes()
      if (rss !== undefined) bytes[service.name] = rss
    }
    if (redisBytes !== undefined) bytes.redis = redisBytes
    for (const [name, value] of Object.entries(bytes)) {
      report.peakBytes[name] = Math.max(report.peakBytes[name] ?? 0, value)
    }
    const atMs = Math.round(performance.now() - startedAt)
    if (atMs - (report.samples.at(-1)?.atMs ?? -KEEP_EVERY_MS) >= KEEP_EVERY_MS)
      report.samples.push({ atMs, bytes })
    void askRedis()
  }

  const timer = setInterval(sample, SAMPLE_EVERY_MS)
  return {
    stop: () => {
      clearInterval(timer)
      return report
    },
  }
}

const LONG_ENOUGH_MS = 10 * 60_000

/**
 * The factor by which the memory of a warm process has grown: its median in the last fifth of the time divided by that in
 * the second fifth. Undefined for runs that are too short.
 */
export function growthOf({ samples }: MemoryReport, name: string): number | undefined {
  const lastMs = samples.at(-1)?.atMs ?? 0
  if (lastMs < LONG_ENOUGH_MS) return undefined
  const medianBetween = (from: number, to: number) => {
    const part = samples.filter(({ atMs }) => atMs >= from * lastMs && atMs <= to * lastMs)
    return median(part.flatMap(({ bytes }) => bytes[name] ?? []))
  }
  const early = medianBetween(0.2, 0.4)
  const late = medianBetween(0.8, 1)
  return Number.isNaN(early) || Number.isNaN(late) ? undefined : late / early
}
