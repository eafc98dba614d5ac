/**
 * Serializes errors for the log: their kind and place, without the data that was processed.
 *
 * PostgreSQL's `detail` and `where` quote the row, and its class 22 messages the value; Redis errors hold the command with
 * the job in it; JSON.parse quotes the text. So only listed properties are logged, and quotes in messages are masked (mask.ts).
 */
import { maskText } from './mask.ts'

export type SerializedError = {
  type: string
  message: string
  stack?: string
  cause?: SerializedError
  errors?: SerializedError[]
} & Partial<Record<SafeProperty, unknown>>

/** Names of PostgreSQL's objects, and Node's description of the failed address. None holds message data. */
const SAFE_PROPERTIES = [
  'code',
  'errno',
  'syscall',
  'address',
  'port',
  'status',
  'severity',
  'schema',
  'table',
  'column',
  'constraint',
  'routine',
  'problems',
] as const
type SafeProperty = (typeof SAFE_PROPERTIES)[number]

const MAX_CAUSES = 4
const MAX_ERRORS = 5

export function serializeError(err: unknown, depth = 0): SerializedError {
  if (!(err instanceof Error)) return { type: typeof err, message: maskText(String(err)) }
  const serialized: SerializedError = { type: err.name, message: maskText(err.message) }
  for (const property of SAFE_PROPERTIES) {
    const value: unknown = Reflect.get(err, property)
    if (isPlain(value)) serialized[property] = value
  }
  const frames = stackFrames(err)
  if (frames !== undefined) serialized.stack = frames
  if (err.cause !== undefined && depth < MAX_CAUSES) serialized.cause = serializeError(err.cause, depth + 1)
  if (err instanceof AggregateError && depth < MAX_CAUSES)
    serialized.errors = err.errors.slice(0, MAX_ERRORS).map((inner) => serializeError(inner, depth + 1))
  return serialized
}

/** The stack without its first lines, which repeat the message. */
function stackFrames(err: Error): string | undefined {
  return err.stack
    ?.split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n')
}

function isPlain(value: unknown): boolean {
  if (Array.isArray(value)) return value.every((item) => typeof item === 'string')
  return typeof value === 'string' || typeof value === 'number'
}
