/**
 * The log: JSON lines on stdout, or readable lines when stdout is a terminal.
 *
 * No line holds the content of a message, a contact's number or a secret: `safe-fields.ts` and `serialize-error.ts` pass only
 * listed fields. Messages are constant phrases; everything that varies is a field.
 */
import { hostname } from 'node:os'
import type { Writable } from 'node:stream'
import { WriteStream } from 'node:tty'
import { type DestinationStream, pino } from 'pino'
import type { LogLevel } from '../config/config-groups.ts'
import { safeFields } from './safe-fields.ts'
import { createTerminalDestination } from './terminal-line.ts'

export type LogFields = Record<string, unknown>

/** A phrase, or fields and a phrase: `log.info({ queue, duration_ms }, 'batch written')`. Errors go under `err`. */
export type LogLine = {
  (phrase: string): void
  (fields: LogFields, phrase: string): void
}

export type Logger = Record<'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal', LogLine> & {
  /** A logger with these fields in every line. */
  child(fields: LogFields): Logger
}

export type LoggerOptions = {
  level: LogLevel
  /** The process that logs: `start`, `api`, `worker`, or the name of a command. */
  process: string
  /** Default: stdout. A command that prints results on stdout logs to stderr. */
  stream?: Writable
}

/** Creates a logger. All its lines are written before the process ends, unless it is killed. */
export function createLogger(options: LoggerOptions): Logger {
  // With LOG_LEVEL=debug an operator looks for one message, and needs its whole id.
  const showWaMessageIds = options.level === 'debug' || options.level === 'trace'
  const safe = (fields: LogFields) => safeFields(fields, { showWaMessageIds })
  const logger = pino(
    {
      level: options.level,
      base: { process: options.process, pid: process.pid, hostname: hostname() },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: safe },
      // The formatter has serialized errors already; pino's own serializer would change them again.
      serializers: { err: (err: unknown) => err },
      hooks: {
        logMethod(args, method) {
          method.apply(this, withPhrase(args))
        },
      },
    },
    createDestination(options.stream ?? process.stdout),
  )
  // pino's formatters do not see the fields of a child logger. Children inherit this method, so it covers theirs, too.
  const createChild = logger.child
  Object.defineProperty(logger, 'child', {
    value(this: pino.Logger, fields: LogFields) {
      return createChild.call(this, safe(fields))
    },
  })
  return logger
}

type LogArguments = Parameters<pino.LogFn>

/** Without a phrase, pino would log the error's own message with the data that it quotes. */
function withPhrase([fields, phrase, ...rest]: LogArguments): LogArguments {
  const first: unknown = fields
  if (typeof first !== 'object' || first === null) return [fields, phrase, ...rest]
  return [first instanceof Error ? { err: first } : first, phrase ?? 'no message', ...rest]
}

function createDestination(stream: Writable): DestinationStream {
  if (stream instanceof WriteStream) return createTerminalDestination(stream)
  // Through the file descriptor pino never blocks, and writes the remaining lines when the process ends.
  if ('fd' in stream && typeof stream.fd === 'number')
    return pino.destination({ dest: stream.fd, sync: false })
  return stream
}
