/** Leases: which process does what only one should do at a time. The database's clock decides. */
import { type Kysely, sql } from 'kysely'
import type { Database } from './schema.ts'

/**
 * Takes or renews a lease; false while another process holds it. A holder that does not renew in time loses it, so what is
 * done under a lease must do no harm when two do it for a moment.
 */
export async function holdLease(
  db: Kysely<Database>,
  { name, holder, durationMs }: { name: string; holder: string; durationMs: number },
): Promise<boolean> {
  const { rows } = await sql`
    INSERT INTO leases (name, holder, expires_at)
    VALUES (${name}, ${holder}::uuid, now() + ${durationMs} * interval '1 millisecond')
    ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE leases.holder = excluded.holder OR leases.expires_at < now()
    RETURNING name`.execute(db)
  return rows.length > 0
}

/** Gives a lease back before its time, so that another process need not wait for its end. */
export async function releaseLease(
  db: Kysely<Database>,
  { name, holder }: { name: string; holder: string },
): Promise<void> {
  await db.deleteFrom('leases').where('name', '=', name).where('holder', '=', holder).execute()
}
