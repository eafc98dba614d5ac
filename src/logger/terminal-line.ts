/** Log lines for a terminal: `12:03:11 INFO  started  port=3000`, with the stack of an error below. */
import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'

const STYLES = {
  trace: 'gray',
  debug: 'gray',
  info: 'green',
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
} as const

/** Fields of every JSON line that an operator at a terminal does not need, or that are printed elsewhere in the line. */
const HIDDEN_FIELDS = ['level', 'time', 'pid', 'hostname', 'process', 'msg', 'err']

/** A destination for pino that turns its JSON into such lines. Coloured when the terminal has colours and NO_COLOR is unset. */
export function createTerminalDestination(terminal: WriteStream): { write(json: string): void } {
  const hasColors = terminal.hasColors()
  return { write: (json) => void terminal.write(formatLine(JSON.parse(json), hasColors)) }
}

function formatLine(line: Record<string, unknown>, hasColors: boolean): string {
  const level = String(line.level)
  const style = isStyled(level) ? STYLES[level] : 'reset'
  const paint = (colour: Parameters<typeof styleText>[0], text: string) =>
    hasColors ? styleText(colour, text, { validateStream: false }) : text
  const fields = Object.entries(line)
    .filter(([name]) => !HIDDEN_FIELDS.includes(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .map(withoutControls)
  const time = new Date(String(line.time)).toTimeString().slice(0, 8)
  const head = `${paint('gray', time)} ${paint(style, level.toUpperCase().padEnd(5))} ${line.msg ?? ''}`
  return `${[head, ...(fields.length > 0 ? [paint('gray', fields.join(' '))] : [])].join('  ')}\n${formatError(line.err)}`
}

function isStyled(level: string): level is keyof typeof STYLES {
  return Object.hasOwn(STYLES, level)
}

function formatError(err: unknown, label = ''): string {
  if (typeof err !== 'object' || err === null || !('message' in err)) return ''
  const code = 'code' in err && err.code !== undefined ? ` (${err.code})` : ''
  const type = 'type' in err ? err.type : 'Error'
  const stack = 'stack' in err && err.stack ? `\n${err.stack}` : ''
  const cause = 'cause' in err ? formatError(err.cause, 'cause: ') : ''
  return `  ${label}${type}: ${withoutControls(String(err.message))}${code}${stack}\n${cause}`
}

/** Escapes control characters: text from outside must not move the cursor, change colours or begin a new line. */
function withoutControls(text: string): string {
  return text.replace(
    /\p{Cc}/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
