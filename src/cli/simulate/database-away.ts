import { sqlStateOf } from '../../db/sql-state.ts'

/** Connection lost, resources exhausted, shutting down (PostgreSQL, appendix A): the same query may succeed later. */
const PASSING_CLASSES = new Set(['08', '53', '57'])

/** Is the database away for the moment, and not wrong? */
export function isDatabaseAway(err: unknown): boolean {
  const code = sqlStateOf(err)
  // Node's own EPIPE has the form of an SQLSTATE.
  return code === undefined || code === 'EPIPE' || PASSING_CLASSES.has(code.slice(0, 2))
}
