/** A setting of Redis or PostgreSQL under which a promise of this service does not hold. */
export type SettingFinding = {
  /** `redis appendonly`, `postgresql fsync`. */
  setting: string
  actual: string
  expected: string
  /** `unchecked`: the server does not show the setting. */
  severity: 'unsafe' | 'unchecked'
  /** What can go wrong, and the next step. */
  advice: string
}

/** One sentence for the log and for the admin. */
export function describeSettingFinding({
  setting,
  actual,
  expected,
  severity,
  advice,
}: SettingFinding): string {
  const state = severity === 'unchecked' ? 'cannot be checked' : `is ${actual}`
  return `${setting} ${state}, expected ${expected}: ${advice}`
}
