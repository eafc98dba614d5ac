/**
 * What an error from PostgreSQL means, decided in one table for every caller.
 *
 * An error of the server has a SQLSTATE (PostgreSQL, appendix A). One of the connection has Node's code (`ECONNREFUSED`);
 * those that the driver makes itself have only a message.
 */
import { SilentServerError } from './silent-server.ts'

/** The states that the code tells apart by name. */
export const SQLSTATE = {
  UNIQUE_VIOLATION: '23505',
  READ_ONLY_TRANSACTION: '25006',
  SERIALIZATION_FAILURE: '40001',
  DEADLOCK_DETECTED: '40P01',
  INSUFFICIENT_PRIVILEGE: '42501',
  UNDEFINED_TABLE: '42P01',
  PROGRAM_LIMIT_EXCEEDED: '54000',
  LOCK_NOT_AVAILABLE: '55P03',
  QUERY_CANCELED: '57014',
} as const

/**
 * - `data`: the row cannot be stored as it is
 * - `conflict`: two transactions met; the same one may succeed at once
 * - `unavailable`: the server is away, stopping, full or too slow; the same statement may succeed later
 */
type Meaning = 'data' | 'conflict' | 'unavailable'

/** By state, or by class (its first two characters) or the beginning of a state. The longest entry that matches decides. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  // Connection exception.
  '08': 'unavailable',
  // Data exception; integrity constraint violation.
  22: 'data',
  23: 'data',
  // After a failover: the server has become a replica.
  [SQLSTATE.READ_ONLY_TRANSACTION]: 'unavailable',
  [SQLSTATE.SERIALIZATION_FAILURE]: 'conflict',
  [SQLSTATE.DEADLOCK_DETECTED]: 'conflict',
  // Insufficient resources: too many connections, no memory, disk full.
  53: 'unavailable',
  // Program limit exceeded: a value that no index holds.
  54: 'data',
  // lock_timeout and statement_timeout.
  [SQLSTATE.LOCK_NOT_AVAILABLE]: 'unavailable',
  [SQLSTATE.QUERY_CANCELED]: 'unavailable',
  // Operator intervention: the server shuts down, starts, or has crashed.
  '57P': 'unavailable',
}

/** Node's codes for a server that cannot be reached, or a connection that was lost. */
const CONNECTION_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])

/** Errors of pg 8 for a lost connection or a time-out; they have no code. */
const DRIVER_MESSAGES =
  /^(?:timeout exceeded when trying to connect|timeout expired|connection terminated|query read timeout|client has encountered a connection error)/i

/** Whether a statement failed because the database is away or too slow, so that it may succeed later. */
export function isUnavailable(err: unknown): boolean {
  const state = sqlStateOf(err)
  if (state !== undefined) return meaningOf(state) === 'unavailable'
  if (!(err instanceof Error)) return false
  return ('code' in err && CONNECTION_CODES.has(String(err.code))) || DRIVER_MESSAGES.test(err.message)
}

/**
 * Whether a statement took longer than a time-out: the server's, the driver's, or that of silent-server.ts. A time-out of
 * connecting is none: there the server did nothing.
 */
function isTimeout(err: unknown): boolean {
  if (sqlStateOf(err) === SQLSTATE.QUERY_CANCELED || err instanceof SilentServerError) return true
  return err instanceof Error && /^query read timeout/i.test(err.message)
}

/**
 * What to do after a failed write.
 *
 * - `data`: this event cannot be stored as it is: isolate it and park it
 * - `conflict`: try the same batch again at once
 * - `timeout`: the batch took too long: try a smaller one
 * - `refused`: the server answered with another error. It can be the fault of one event (a trigger that raises), or of the
 *   database (a missing column or grant); which of the two shows when the events are stored one by one
 * - `wait`: the database is away. The events are fine; try again later
 */
export type WriteFailure = 'data' | 'conflict' | 'timeout' | 'refused' | 'wait'

export function classifyWriteFailure(err: unknown): WriteFailure {
  // The stack or a string grew too large: retried, this event would stop the events of its batch for ever.
  if (err instanceof RangeError) return 'data'
  if (isTimeout(err)) return 'timeout'
  const meaning = meaningOf(sqlStateOf(err) ?? '')
  if (meaning === 'data' || meaning === 'conflict') return meaning
  return isUnavailable(err) || isOfTheSystem(err) ? 'wait' : 'refused'
}

/** Whether the error is of the operating system or of Node, as one of TLS or of a file. */
function isOfTheSystem(err: unknown): boolean {
  return err instanceof Error && 'code' in err && sqlStateOf(err) === undefined
}

/** Classes begin with a digit, or are one of these four; without that, Node's `EPIPE` would pass for a state. */
const SQLSTATE_FORM = /^(?:\d[0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/

/** The SQLSTATE of an error from the server, or undefined for any other error. */
export function sqlStateOf(err: unknown): string | undefined {
  const code = typeof err === 'object' && err !== null && 'code' in err ? err.code : undefined
  return typeof code === 'string' && SQLSTATE_FORM.test(code) ? code : undefined
}

function meaningOf(state: string): Meaning | undefined {
  return MEANINGS[state] ?? MEANINGS[state.slice(0, 3)] ?? MEANINGS[state.slice(0, 2)]
}
