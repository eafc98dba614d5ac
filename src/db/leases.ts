/** Leases: a task that one process at a time should do. They end by the clock of the database. */
import { type Kysely, sql } from 'kysely'
import type { Database } from './schema.ts'

/**
 * Takes or renews a lease; false while another process holds it. A holder that does not renew in time loses it, so the task
 * must do no harm when two processes do it for a moment.
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

/** Ends a lease early, so that another process need not wait for it. */
export async function releaseLease(
  db: Kysely<Database>,
  { name, holder }: { name: string; holder: string },
): Promise<void> {
  await db.deleteFrom('leases').where('name', '=', name).where('holder', '=', holder).execute()
}
