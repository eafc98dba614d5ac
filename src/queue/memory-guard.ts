/**
 * Watches how full the queue's memory is.
 *
 * BullMQ's own worker (`outbound`) can take no job from a full Redis, and neither can ours on Redis 6: nothing that would
 * make room could run. So the receiver stops adding at 80 %, and the workers empty the queue in peace. It starts again a
 * little lower, so that it does not flap at the limit.
 */
import type { QueueBackend } from './backend.ts'

const FULL_SHARE = 0.8
const ROOM_SHARE = 0.75

export type MemoryGuard = {
  isFull(): boolean
  /** Looks once. A backend that does not answer changes nothing: the add itself will fail. */
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
