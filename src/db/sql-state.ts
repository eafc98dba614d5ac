/**
 * What a failed write means, by SQLSTATE (PostgreSQL, appendix A).
 *
 * - `data`: this event cannot be stored as it is (classes 22, 23, 54; too deep or too long for our own code): isolate it
 *   and park it.
 * - `conflict`: two writers met (40001, 40P01): try the same batch again at once.
 * - `away`: everything else, from a refused connection to a missing column or grant: the event is fine, so wait.
 */
export type WriteFailure = 'data' | 'conflict' | 'away'

const DATA_CLASSES = new Set(['22', '23', '54'])
const CONFLICTS = new Set(['40001', '40P01'])

export function classifyWriteFailure(err: unknown): WriteFailure {
  // Of the stack or of a string: retried, it would stop everything that comes with it, for ever.
  if (err instanceof RangeError) return 'data'
  const code = sqlStateOf(err)
  if (code === undefined) return 'away'
  if (CONFLICTS.has(code)) return 'conflict'
  return DATA_CLASSES.has(code.slice(0, 2)) ? 'data' : 'away'
}

/** Classes begin with a digit, or are one of these four; without that, a socket's `EPIPE` would pass for a state. */
const SQLSTATE = /^(?:\d[0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/

/** The SQLSTATE of an error from the driver, or undefined (a socket error has a code of another form). */
export function sqlStateOf(err: unknown): string | undefined {
  const code = typeof err === 'object' && err !== null && 'code' in err ? err.code : undefined
  return typeof code === 'string' && SQLSTATE.test(code) ? code : undefined
}
