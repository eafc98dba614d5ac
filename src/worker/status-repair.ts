/** When statuses that were not applied are looked for: a small page at a time, so that no sweep takes long. */
import type { Kysely } from 'kysely'
import { STATUS_REPAIR } from '../core/send-policy.ts'
import { repairStatuses } from '../db/outbox/status-repair.ts'
import type { Database } from '../db/schema.ts'

export type StatusRepair = {
  /** Call it with every sweep: the first pass begins at once, each other one an hour after the last has begun. */
  runOnce(): Promise<void>
}

export function createStatusRepair(db: Kysely<Database>): StatusRepair {
  const { everyMs, firstAgeMs, overlapMs, statusesASweep: limit } = STATUS_REPAIR
  let begunAt: number | undefined
  let maxAgeMs: number = firstAgeMs
  let beforeId: string | undefined
  return {
    runOnce: async () => {
      if (beforeId === undefined) {
        const sinceLastMs = begunAt === undefined ? undefined : performance.now() - begunAt
        if (sinceLastMs !== undefined && sinceLastMs < everyMs) return
        maxAgeMs = sinceLastMs === undefined ? firstAgeMs : sinceLastMs + overlapMs
        begunAt = performance.now()
      }
      beforeId = await repairStatuses(db, { beforeId, maxAgeMs, limit })
    },
  }
}
