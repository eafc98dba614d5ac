/**
 * A real child process with its output captured, in a process group of its own, tethered to us: neither it nor what it
 * has started outlives the run. Used by tests through processes.ts, which also ends it with the test.
 */
import path from 'node:path'
import { type RunAs, spawnTethered } from '../../src/local/tethered-process.ts'

const SECOND = 1000

export type ProcessEnd = { code: number | null; signal: NodeJS.Signals | null }

export type CapturedProcess = {
  pid: number
  readonly stdout: string
  readonly stderr: string
  /** Both, in the order of arrival. */
  readonly output: string
  /** Resolves with the match as soon as the output has it; throws when the process ends without it, or in time. */
  waitForOutput(pattern: RegExp, options?: { timeoutMs?: number }): Promise<RegExpMatchArray>
  ended: Promise<ProcessEnd>
  /** Signals this process alone, as `kill` does; SIGKILL unless another is given. */
  kill(signal?: NodeJS.Signals): void
  /** Signals (SIGTERM) and waits for the end; after the time allowed, kills the whole group and throws. */
  stop(options?: { signal?: NodeJS.Signals; timeoutMs?: number }): Promise<ProcessEnd>
  /** SIGKILL to the process and to what it has started. */
  killGroup(): void
}

export type CaptureOptions = {
  cwd?: string
  /** Another user, where the tests run as root. */
  runAs?: RunAs | undefined
  /** Added to a minimal environment; nothing else is inherited, so that a developer's variables change no test. */
  env?: Record<string, string | undefined>
}

/** As in production: a process whose code has been compiled before starts in half of the time. */
const COMPILED = path.resolve(import.meta.dirname, '../../node_modules/.cache/wa-ingest')

const INHERITED = ['PATH', 'HOME', 'USER', 'TMPDIR', 'LANG', 'NODE_EXTRA_CA_CERTS']

/** Starts the program; does not wait for anything. */
export function launchProcess(
  command: string,
  args: readonly string[],
  options: CaptureOptions = {},
): CapturedProcess {
  const child = spawnTethered(command, args, {
    endSignal: 'TERM',
    endsGroup: true,
    runAs: options.runAs,
    cwd: options.cwd ?? process.cwd(),
    env: { NODE_COMPILE_CACHE: COMPILED, ...inheritedEnvironment(), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const captured = { stdout: '', stderr: '', output: '' }
  const listeners = new Set<() => void>()
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      captured[stream] += text
      captured.output += text
      for (const listener of listeners) listener()
    })

  let end: ProcessEnd | undefined
  const ended = new Promise<ProcessEnd>((resolve) => {
    const finish = (code: number | null, signal: NodeJS.Signals | null) => {
      end ??= { code, signal }
      resolve(end)
      for (const listener of listeners) listener()
    }
    child.on('error', (err) => {
      captured.output += `${err.message}\n`
      finish(null, null)
    })
    // Not on 'close': a grandchild that keeps the pipes open must not hold up a test.
    child.on('exit', (code, signal) => setImmediate(finish, code, signal))
  })
  const name = [command, ...args].join(' ')
  const pid = child.pid ?? 0

  return {
    pid,
    ended,
    get stdout() {
      return captured.stdout
    },
    get stderr() {
      return captured.stderr
    },
    get output() {
      return captured.output
    },
    waitForOutput(pattern, { timeoutMs = 30 * SECOND } = {}) {
      return new Promise((resolve, reject) => {
        const fail = (why: string) => {
          finish()
          reject(new Error(`${name}: ${why} ${pattern}; its output:\n${captured.output}`))
        }
        const timer = setTimeout(() => fail(`${timeoutMs} ms without`), timeoutMs)
        const look = () => {
          const match = captured.output.match(pattern)
          if (match) {
            finish()
            resolve(match)
          } else if (end) fail(`ended (${end.signal ?? end.code}) without`)
        }
        const finish = () => {
          clearTimeout(timer)
          listeners.delete(look)
        }
        listeners.add(look)
        look()
      })
    },
    kill(signal = 'SIGKILL') {
      if (!end) signalProcess(pid, signal)
    },
    async stop({ signal = 'SIGTERM', timeoutMs = 15 * SECOND } = {}) {
      if (!end) signalProcess(pid, signal)
      let timer: NodeJS.Timeout | undefined
      const timeout = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          signalProcess(-pid, 'SIGKILL')
          reject(
            new Error(
              `${name}: still running ${timeoutMs} ms after ${signal}; its output:\n${captured.output}`,
            ),
          )
        }, timeoutMs)
      })
      return Promise.race([ended, timeout]).finally(() => clearTimeout(timer))
    },
    killGroup() {
      if (pid) signalProcess(-pid, 'SIGKILL')
    },
  }
}

function inheritedEnvironment(): Record<string, string> {
  const environment: Record<string, string> = {}
  for (const name of INHERITED) {
    const value = process.env[name]
    if (value !== undefined) environment[name] = value
  }
  return environment
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It is gone already.
  }
}
