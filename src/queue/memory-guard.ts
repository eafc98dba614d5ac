/**
 * Watches how full the queue's memory is.
 *
 * A BullMQ worker whose Redis is full cannot even fetch the jobs that would free it, and stops for good. So the receiver
 * stops adding at 80 %, and the worker empties the queue in peace. It starts again a little lower, so that it does not
 * flap at the limit.
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
