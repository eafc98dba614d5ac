import type { SettingFinding } from '../../core/setting-finding.ts'
import { checkPostgresSafety } from '../../db/postgres-safety.ts'
import type { Stores } from './open-stores.ts'

/** The unsafe settings of each store; undefined for a store that does not answer, which its own health check reports. */
export async function findUnsafeSettings({
  pool,
  isPooled,
  backend,
}: Pick<Stores, 'pool' | 'isPooled' | 'backend'>): Promise<(SettingFinding[] | undefined)[]> {
  const found = await Promise.allSettled([checkPostgresSafety(pool, { isPooled }), backend.checkSafety()])
  return found.map((result) => (result.status === 'fulfilled' ? result.value : undefined))
}
