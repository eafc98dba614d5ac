/**
 * Does a store's clock tell the time of this machine?
 *
 * Times of messages come from here, leases and the order of changes from PostgreSQL, locks and delays of jobs from both
 * sides of the queue. What the question itself took is not counted as a difference.
 */
import type { SettingFinding } from './setting-finding.ts'

/** More than any machine with a time service is off; less than the locks that are counted on two clocks. */
const MAX_SKEW_MS = 2_000

/** Asks the store for its time, in milliseconds since 1970. `now` is the clock of this machine. */
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
