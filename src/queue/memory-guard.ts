/**
 * Watches how full the memory of the queue is.
 *
 * From a full Redis, BullMQ's own worker (`outbound`) can fetch no job, and on Redis 6 neither can the inbound consumer:
 * Redis refuses the scripts that would free memory. So the receiver stops adding at 80 %, and the workers empty the queue.
 * It adds again below 75 %, so that it does not flip back and forth at the limit.
 */
import type { QueueBackend } from './backend.ts'

const FULL_SHARE = 0.8
const ROOM_SHARE = 0.75

export type MemoryGuard = {
  isFull(): boolean
  /** Checks once. When the backend does not answer, nothing changes: the next add fails by itself. */
  runOnce(): Promise<void>
}

export function createMemoryGuard(backend: Pick<QueueBackend, 'memoryUsed'>): MemoryGuard {
  let isFull = false
  return {
    isFull: () => isFull,
    runOnce: async () => {
      const used = await backend.memoryUsed().catch(() => undefined)
      if (used === undefined) return
      if (used >= FULL_SHARE) isFull = true
      else if (used < ROOM_SHARE) isFull = false
    },
  }
}
