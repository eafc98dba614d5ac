/**
 * A process of the service under a supervisor that starts it again when it ends, as a container runtime does. It counts as
 * a crash only if no scenario ended the process.
 */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { residentBytesOf } from '../../rig/process-times.ts'
import { type CapturedProcess, launchProcess, type ProcessEnd } from '../../test/support/child-process.ts'

export type ServiceProcess = {
  name: string
  pid(): number
  /** SIGKILL; the supervisor starts it again. */
  kill(): void
  /** SIGTERM and started again. The result is how it ended, and how long that took. */
  restart(): Promise<{ end: ProcessEnd; tookMs: number }>
  /** SIGTERM, and not started again until `start`. */
  stop(): Promise<void>
  start(): Promise<void>
  freeze(): void
  thaw(): void
  untilReady(): Promise<void>
  isRunning(): boolean
  /** Everything that it has written, over all restarts. */
  output(): string
  /** One line for each time that it ended by itself after it was ready. */
  crashes(): readonly string[]
  starts(): number
  /** Resident memory, in bytes; undefined while it is not running. */
  rssBytes(): number | undefined
  close(): Promise<void>
}

export type ServiceProcessOptions = {
  name: string
  args: readonly string[]
  env: Record<string, string | undefined>
  /** Options of Node itself. */
  nodeArgs?: readonly string[]
}

const PROJECT = path.resolve(import.meta.dirname, '../..')
const RESTART_DELAY_MS = 200
const READY = /"msg":"ready"/
const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 10_000

export function startServiceProcess(options: ServiceProcessOptions): ServiceProcess {
  const { name, args, env, nodeArgs = [] } = options
  const crashes: string[] = []
  let earlierOutput = ''
  let starts = 0
  let isWanted = true
  let isEndExpected = false
  let isRunning = false
  let current = launch()
  let supervising = supervise()

  function launch(): CapturedProcess {
    starts++
    isRunning = true
    isEndExpected = false
    return launchProcess(process.execPath, [...nodeArgs, path.join(PROJECT, 'bin/wa-ingest.js'), ...args], {
      cwd: PROJECT,
      env,
    })
  }

  async function supervise(): Promise<void> {
    for (;;) {
      const end = await current.ended
      isRunning = false
      // What cannot start while its store is away says so and ends; only the end of one that was at work is a crash.
      if (!isEndExpected && READY.test(current.output)) {
        crashes.push(
          `${name} ended by itself (${end.signal ?? `code ${end.code}`}): ${lastLine(current.output)}`,
        )
      }
      earlierOutput += current.output
      if (!isWanted) return
      await sleep(RESTART_DELAY_MS)
      if (!isWanted) return
      current = launch()
    }
  }

  async function stopCurrent(): Promise<ProcessEnd> {
    isEndExpected = true
    isRunning = false
    // A stopped process receives SIGTERM only when it continues.
    current.kill('SIGCONT')
    return current.stop({ timeoutMs: STOP_TIMEOUT_MS })
  }

  const service: ServiceProcess = {
    name,
    pid: () => current.pid,
    kill() {
      isEndExpected = true
      isRunning = false
      current.kill('SIGKILL')
    },
    async restart() {
      const startedAt = performance.now()
      const end = await stopCurrent()
      return { end, tookMs: Math.round(performance.now() - startedAt) }
    },
    async stop() {
      isWanted = false
      await stopCurrent()
      await supervising
    },
    async start() {
      if (isWanted) return
      isWanted = true
      current = launch()
      supervising = supervise()
      await service.untilReady()
    },
    freeze: () => current.kill('SIGSTOP'),
    thaw: () => current.kill('SIGCONT'),
    async untilReady() {
      const deadline = performance.now() + READY_TIMEOUT_MS
      while (!isRunning || !READY.test(current.output)) {
        if (performance.now() > deadline)
          throw new Error(`${name} is not ready: ${lastLine(earlierOutput + current.output)}`)
        await sleep(50)
      }
    },
    isRunning: () => isRunning,
    output: () => (isRunning ? earlierOutput + current.output : earlierOutput),
    crashes: () => crashes,
    starts: () => starts,
    rssBytes: () => (isRunning ? residentBytesOf(current.pid) : undefined),
    async close() {
      isWanted = false
      isEndExpected = true
      current.killGroup()
      await supervising
    },
  }
  return service
}

function lastLine(output: string): string {
  return output.trim().split('\n').at(-1)?.slice(0, 500) ?? ''
}
