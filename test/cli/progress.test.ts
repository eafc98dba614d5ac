import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import type { OutputStream } from '../../src/cli/command.ts'
import { createProgress, formatDuration, type ProgressOptions } from '../../src/cli/progress.ts'
import { eventually } from '../support/eventually.ts'

describe('on a terminal', () => {
  test('shows bar, percentage, rate and remaining time on one line', () => {
    const { progress, clock, text } = start({ total: 1_000 })

    progress.update(0)
    clock.ms = 1_000
    progress.update(250, '3 refused')

    expect(lastLine(text())).toBe(
      'sending ━━━━━━────────────────── 25 % · 250 of 1,000 · 250/s · 3.0 s left · 3 refused',
    )
  })

  test('draws at most ten times a second, and always the last state', async () => {
    const { progress, text } = start({ total: 1_000 })

    for (let done = 0; done <= 1_000; done++) progress.update(done)

    expect(text().split('\r')).toHaveLength(2)
    await eventually(() => expect(lastLine(text())).toContain('1,000 of 1,000'))
  })

  test('leaves the last state and a new line behind', () => {
    const { progress, text } = start({ total: 10 })

    progress.update(3)
    progress.update(10)
    progress.finish()

    expect(lastLine(text())).toContain('100 % · 10 of 10')
    expect(text().endsWith('\n')).toBe(true)
  })

  test('stays within the width of the terminal', () => {
    for (const columns of [20, 40, 60, 80]) {
      const { progress, text } = start({ total: 1_000_000, columns })

      progress.update(123_456, 'and some details')

      expect(lastLine(text()).length).toBeLessThan(columns)
    }
  })

  test('has colour, unless NO_COLOR is set', () => {
    const coloured = start({ total: 10, env: {} })
    coloured.progress.update(5)
    const plain = start({ total: 10, env: { NO_COLOR: '1' } })
    plain.progress.update(5)

    expect(coloured.text()).toContain('\u001b[36m')
    expect(plain.text()).not.toContain('\u001b[36m')
  })

  test('counts without a bar when the total is unknown', () => {
    const { progress, text } = start({})

    progress.update(42)

    expect(lastLine(text())).toBe('sending 42')
  })
})

describe('anywhere else', () => {
  test('writes a plain line every five seconds', () => {
    const { progress, clock, text } = start({ total: 100, isTTY: false })

    for (clock.ms = 0; clock.ms <= 12_000; clock.ms += 100) progress.update(clock.ms / 200)
    progress.finish()

    expect(text().split('\n')).toEqual([
      'sending · 25 % · 25 of 100 · 5/s · 15.0 s left',
      'sending · 50 % · 50 of 100 · 5/s · 10.0 s left',
      'sending · 60 % · 60 of 100 · 5/s · 8.0 s left',
      '',
    ])
  })

  test('writes nothing for work that is done before the first line', () => {
    const { progress, text } = start({ total: 100, isTTY: false })

    progress.update(100)
    progress.finish()

    expect(text()).toBe('')
  })

  test('treats a terminal without control sequences like a file', () => {
    const { progress, text } = start({ total: 100, env: { TERM: 'dumb' } })

    progress.update(50)

    expect(text()).toBe('')
  })
})

test('writes nothing when it is silent', () => {
  const { progress, text } = start({ total: 10, isSilent: true })

  progress.update(5)
  progress.finish()

  expect(text()).toBe('')
})

test.each([
  [0, '0 ms'],
  [850.4, '850 ms'],
  [999.9, '1.0 s'],
  [59_940, '59.9 s'],
  [59_960, '1 min 00 s'],
  [125_000, '2 min 05 s'],
  [11_220_000, '3 h 07 min'],
])('%d ms reads as %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text)
})

type Start = Partial<ProgressOptions> & { columns?: number; isTTY?: boolean }

function start({ columns = 100, isTTY = true, ...options }: Start) {
  const written: string[] = []
  const stream: OutputStream = Object.assign(new PassThrough(), { columns, isTTY })
  stream.on('data', (chunk) => written.push(String(chunk)))
  const clock = { ms: 0 }
  const progress = createProgress({
    stream,
    label: 'sending',
    env: { NO_COLOR: '1' },
    now: () => clock.ms,
    ...options,
  })
  return { progress, clock, text: () => written.join('') }
}

/** As the terminal shows it: what follows the last return, without commands. */
function lastLine(text: string): string {
  const drawn = text.trimEnd().split('\r').at(-1) ?? ''
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal commands begin with one
  return drawn.replace(/\u001b\[\d*[mK]/g, '')
}
