import { sqlStateOf } from './sql-state.ts'

/** Connection trouble (08), shutting down or starting (57P), too many clients (53), given up (57014, 55P03), read-only. */
const STATES = /^(?:08|53|57P|57014|55P03|25006)/
const SOCKET_ERRORS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
])
/** The driver's own errors have no code. */
const DRIVER_MESSAGES =
  /^(?:timeout exceeded when trying to connect|connection terminated|query read timeout|client has encountered a connection error)/i

/** Whether a query failed because the database is away or too slow, and the same query may work later. */
export function isUnavailable(err: unknown): boolean {
  const state = sqlStateOf(err)
  if (state !== undefined) return STATES.test(state)
  if (!(err instanceof Error)) return false
  if ('code' in err && SOCKET_ERRORS.has(String(err.code))) return true
  return DRIVER_MESSAGES.test(err.message)
}
