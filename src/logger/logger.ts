/**
 * The log: JSON lines on stdout, or lines for people where stdout is a terminal.
 *
 * No line holds what is inside a message, whose number it came from, or a secret: `safe-fields.ts` and
 * `serialize-error.ts` let through only what is listed there. Messages are constant phrases; what varies is a field.
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
  /** Which process speaks: `start`, `api`, `worker`, the name of a command. */
  process: string
  /** Default: stdout. Commands whose output is on stdout log to stderr. */
  stream?: Writable
}

/** A logger whose lines are all written by the time the process ends, unless it is killed. */
export function createLogger(options: LoggerOptions): Logger {
  // Somebody who turned on debug is looking for one message, and gets its id whole.
  const showWaMessageIds = options.level === 'debug' || options.level === 'trace'
  const safe = (fields: LogFields) => safeFields(fields, { showWaMessageIds })
  const logger = pino(
    {
      level: options.level,
      base: { process: options.process, pid: process.pid, hostname: hostname() },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: safe },
      // Fields come out of the formatter as they are printed; pino's own serializer would take errors apart again.
      serializers: { err: (err: unknown) => err },
      hooks: {
        logMethod(args, method) {
          method.apply(this, withPhrase(args))
        },
      },
    },
    createDestination(options.stream ?? process.stdout),
  )
  // A child's own fields pass by the formatters. Children inherit this method, so theirs are caught too.
  const createChild = logger.child
  Object.defineProperty(logger, 'child', {
    value(this: pino.Logger, fields: LogFields) {
      return createChild.call(this, safe(fields))
    },
  })
  return logger
}

type LogArguments = Parameters<pino.LogFn>

/** Where there is no phrase, pino would take the error's own message, with the data that it quotes. */
function withPhrase([fields, phrase, ...rest]: LogArguments): LogArguments {
  const first: unknown = fields
  if (typeof first !== 'object' || first === null) return [fields, phrase, ...rest]
  return [first instanceof Error ? { err: first } : first, phrase ?? 'no message', ...rest]
}

function createDestination(stream: Writable): DestinationStream {
  if (stream instanceof WriteStream) return createTerminalDestination(stream)
  // Through the descriptor: never blocks, and pino writes what is left when the process ends.
  if ('fd' in stream && typeof stream.fd === 'number')
    return pino.destination({ dest: stream.fd, sync: false })
  return stream
}
