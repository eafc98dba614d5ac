/**
 * Compares the clock of a store with the clock of this machine.
 *
 * Times of messages come from this machine, leases from PostgreSQL, locks and delays of jobs from both sides of the queue.
 * The time that the query itself took does not count as a difference.
 */
import type { SettingFinding } from './setting-finding.ts'

/** More than the error of any machine with a time service; less than the duration of locks that two clocks measure. */
const MAX_SKEW_MS = 2_000

/** A finding when the clocks differ too much, else none. Both clocks are in milliseconds since 1970. */
export async function checkClock(
  server: string,
  readTime: () => Promise<number>,
  now: () => number = Date.now,
): Promise<SettingFinding[]> {
  const askedAt = now()
  const serverTime = await readTime()
  const answeredAt = now()
  const aheadMs = Math.min(serverTime - askedAt, Math.max(serverTime - answeredAt, 0))
  if (Number.isNaN(aheadMs) || Math.abs(aheadMs) <= MAX_SKEW_MS) return []
  const direction = aheadMs > 0 ? 'ahead of' : 'behind'
  return [
    {
      setting: `${server} clock`,
      actual: `${Math.round(Math.abs(aheadMs) / 100) / 10} s ${direction} the clock of this machine`,
      expected: `within ${MAX_SKEW_MS / 1000} s`,
      severity: 'unsafe',
      advice:
        'locks, delays and the times of messages are wrong by as much; let NTP (chrony, systemd-timesyncd) set the clocks of all machines',
    },
  ]
}
