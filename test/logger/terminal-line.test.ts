import { PassThrough } from 'node:stream'
import { WriteStream } from 'node:tty'
import { expect, test } from 'vitest'
import { createTerminalDestination } from '../../src/logger/terminal-line.ts'

const TIME = new Date(2026, 0, 2, 3, 4, 5).toISOString()

test('a line on a terminal has time, level, phrase and fields, and neither pid nor host name', () => {
  const line = print({
    level: 'info',
    time: TIME,
    pid: 1,
    hostname: 'h',
    process: 'api',
    port: 3000,
    host: '::1',
    msg: 'started',
  })

  expect(line).toBe('03:04:05 INFO  started  port=3000 host=::1\n')
})

test('an error and its causes follow below, each with its stack', () => {
  const err = {
    type: 'Error',
    message: 'no',
    stack: '    at a',
    cause: { type: 'TypeError', message: 'why', code: 'X', stack: '    at b' },
  }

  expect(print({ level: 'error', time: TIME, msg: 'failed', err })).toBe(
    '03:04:05 ERROR failed\n  Error: no\n    at a\n  cause: TypeError: why (X)\n    at b\n',
  )
})

test('lines are coloured only on a terminal with colours', () => {
  const line = { level: 'warn', time: TIME, msg: 'slow' }

  expect(print(line, true)).toContain('\u001b[33m')
  expect(print(line, false)).not.toContain('\u001b')
})

test('control characters from outside are escaped', () => {
  const path = '/a\u001b[2J\u009b1m\r\n03:04:05 INFO  faked'

  const line = print({ level: 'warn', time: TIME, msg: 'odd', path, err: { type: 'Error', message: path } })

  expect(line.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  expect(line).toContain('path=/a\\x1b[2J\\x9b1m\\x0d\\x0a03:04:05')
  expect(line.split('\n')).toHaveLength(3)
})

function print(line: Record<string, unknown>, hasColors = false): string {
  const screen = new PassThrough()
  const terminal = Object.assign(Object.create(WriteStream.prototype), {
    hasColors: () => hasColors,
    write: (text: string) => screen.write(text),
  })
  createTerminalDestination(terminal).write(JSON.stringify(line))
  return String(screen.read())
}
