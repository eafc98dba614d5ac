import { vi } from 'vitest'
import { cleanUp } from './clean-up.ts'

/**
 * Stops the clock of this process at noon GMT of yesterday, until the test is over: what is minutes old is of the same
 * day, whenever the test runs. The clock of PostgreSQL goes on.
 */
export function stopClockAtNoon(): void {
  const noon = new Date()
  noon.setUTCHours(12 - 24, 0, 0, 0)
  vi.setSystemTime(noon)
  cleanUp(() => vi.useRealTimers())
}
