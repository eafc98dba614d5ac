import { setTimeout as delay } from 'node:timers/promises'

const SECOND = 1000

/**
 * Tries until it does not throw and returns what it returned; throws the last error when the time (20 s unless given)
 * is over. The condition must be free of side effects.
 */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 20 * SECOND }: { timeoutMs?: number } = {},
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (let waitMs = 10; ; waitMs = Math.min(waitMs * 1.5, 200)) {
    try {
      return await condition()
    } catch (err) {
      if (Date.now() + waitMs > deadline) throw err
    }
    await delay(waitMs)
  }
}
