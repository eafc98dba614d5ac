import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type RunContext, runUntilSignal } from '../../src/lifecycle/run-until-signal.ts'
import { createLogger } from '../../src/logger/logger.ts'

const LIFECYCLE = pathToFileURL('src/lifecycle/run-until-signal.ts').href
const LOGGER = pathToFileURL('src/logger/logger.ts').href

describe('a run', () => {
  test('that is told to stop releases everything and ends with 0', async () => {
    const { result, seen, stop } = begin(async ({ releases }, note) => {
      releases.add('pool', () => note('pool closed'))
      releases.add('server', () => note('server closed'))
    })

    stop.abort('SIGTERM')

    expect(await result).toBe(0)
    expect(seen).toEqual(['server closed', 'pool closed'])
  })

  test('whose start fails releases what was open and throws the error', async () => {
    const { result, seen } = begin(async ({ releases }, note) => {
      releases.add('pool', () => note('pool closed'))
      throw new Error('port 3000 is taken')
    })

    await expect(result).rejects.toThrow('port 3000 is taken')
    expect(seen).toEqual(['pool closed'])
  })

  test('that is told to stop while it starts does not wait for the start', async () => {
    const { result, seen, stop } = begin(async ({ releases }, note) => {
      releases.add('pool', () => note('pool closed'))
      await new Promise(() => {})
    })

    stop.abort('SIGINT')

    expect(await result).toBe(0)
    expect(seen).toEqual(['pool closed'])
  })

  test('that calls fail stops, logs the error once and ends with 1', async () => {
    const { result, seen, log } = begin(async ({ releases, signal, fail }, note) => {
      releases.add('pool', () => note(`pool closed, stopping: ${signal.aborted}`))
      setImmediate(() => fail(new Error('worker stopped')))
    })

    expect(await result).toBe(1)
    expect(seen).toEqual(['pool closed, stopping: true'])
    expect((await log()).filter(({ level }) => level === 'fatal')).toHaveLength(1)
  })

  test('with a release that fails still ends, with 1', async () => {
    const { result, stop, log } = begin(async ({ releases }) => {
      releases.add('pool', () => Promise.reject(new Error('gone')))
    })

    stop.abort('SIGTERM')

    expect(await result).toBe(1)
    expect((await log()).map(({ msg }) => msg)).toContain('release failed')
  })
})

describe('a process', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    'that gets %s releases what it opened and ends by itself with 0',
    async (signal) => {
      const child = await startProgram(`
      const server = createServer().listen(0)
      releases.add('server', () => { print('closing'); server.close() })`)

      child.kill(signal)

      expect(await endOf(child)).toEqual({ code: 0, printed: 'ready\nclosing\n' })
    },
  )

  test('that gets the same signal twice at once, as under npm, still stops in order', async () => {
    const child = await startProgram(`releases.add('pool', async () => {
      const { promise, resolve } = Promise.withResolvers()
      process.once('SIGINT', resolve)
      process.kill(process.pid, 'SIGINT')
      await promise
      print('closed')
    })`)

    child.kill('SIGINT')

    expect(await endOf(child)).toEqual({ code: 0, printed: 'ready\nclosed\n' })
  })

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('that gets a second %s later ends at once with %i', async (signal, code) => {
    const child = await startProgram(
      `releases.add('worker', () => new Promise(() => setTimeout(() => print('hangs'), 600)))`,
      { shutdownTimeoutMs: 60_000 },
    )

    child.kill(signal)
    await once(child.stdout!, 'data')
    child.kill(signal)

    expect(await endOf(child)).toMatchObject({ code })
  })

  test.each([
    ['an uncaught exception', `setImmediate(() => { throw new Error('boom') })`],
    ['an unhandled rejection', `setImmediate(() => Promise.reject(new Error('boom')))`],
  ])('with %s logs it once, releases and ends with 1', async (_, statement) => {
    const child = await startProgram(`releases.add('pool', () => print('closed')); ${statement}`)
    const log = text(child.stderr!)

    expect(await endOf(child)).toMatchObject({ code: 1, printed: expect.stringContaining('closed') })
    expect((await log).match(/boom/g)).toHaveLength(1)
  })

  test('with a handle left open is ended by force after the deadline', async () => {
    const child = await startProgram(`createServer().listen(0)`, { shutdownTimeoutMs: 10 })
    const log = text(child.stderr!)

    child.kill('SIGTERM')

    expect(await endOf(child)).toMatchObject({ code: 1 })
    expect(await log).toContain('ended by force')
  })
})

type Begun = {
  result: Promise<number>
  seen: string[]
  stop: AbortController
  log(): Promise<Record<string, unknown>[]>
}

function begin(start: (context: RunContext, note: (what: string) => void) => Promise<void>): Begun {
  const stop = new AbortController()
  const seen: string[] = []
  const stream = new PassThrough()
  const result = runUntilSignal({
    log: createLogger({ level: 'info', process: 'test', stream }),
    shutdownTimeoutMs: 5_000,
    signal: stop.signal,
    start: (context) => start(context, (what) => seen.push(what)),
  })
  return {
    result,
    seen,
    stop,
    log: async () => {
      stream.end()
      return (await text(stream))
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
    },
  }
}

/** A process that runs `body` as its start; resolves when it is ready. It logs to stderr and prints to stdout. */
async function startProgram(body: string, { shutdownTimeoutMs = 5_000 } = {}): Promise<ChildProcess> {
  const program = `
    import { createServer } from 'node:net'
    const { runUntilSignal } = await import(${JSON.stringify(LIFECYCLE)})
    const { createLogger } = await import(${JSON.stringify(LOGGER)})
    const print = (line) => process.stdout.write(line + '\\n')
    const alive = setInterval(() => {}, 60_000)
    process.exitCode = await runUntilSignal({
      log: createLogger({ level: 'info', process: 'test', stream: process.stderr }),
      shutdownTimeoutMs: ${shutdownTimeoutMs},
      async start({ releases }) {
        releases.add('alive', () => clearInterval(alive))
        ${body}
        print('ready')
      },
    })`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed: string[] = []
  child.stdout.on('data', (chunk) => printed.push(String(chunk)))
  const closed = once(child, 'close')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await closed
  })
  ends.set(child, async () => {
    await closed
    return { code: child.exitCode, printed: printed.join('') }
  })
  while (!printed.join('').includes('ready')) await once(child.stdout, 'data')
  return child
}

type End = { code: number | null; printed: string }

const ends = new WeakMap<ChildProcess, () => Promise<End>>()

function endOf(child: ChildProcess): Promise<End> | undefined {
  return ends.get(child)?.()
}
