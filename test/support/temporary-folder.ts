/**
 * The temporary folder of a whole run, for its test files and all processes that they start: what a test leaves behind
 * in it, and every process that still runs with it, fails the run.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const SECOND = 1000
/** The processes of the runner, which it ends after its tear-down. */
const RUNNER = /\/vitest\/dist\/workers\/|vitest-watchdog/
/** Where npm keeps its compiled code on a recent Node, for all of its runs. */
const SHARED = 'node-compile-cache'

export type TemporaryFolder = {
  /**
   * What a test has killed may take a moment (10 s unless given) to be gone. @throws with the names of files and
   * processes.
   */
  expectNothingLeft(options?: { graceMs?: number }): Promise<void>
  close(): void
}

/** Becomes the temporary folder of this process and of those that it starts from here on. */
export function openTemporaryFolder(folder: string): TemporaryFolder {
  mkdirSync(folder)
  chmodSync(folder, 0o1777)
  const before = process.env.TMPDIR
  process.env.TMPDIR = folder
  return {
    expectNothingLeft: async ({ graceMs = 10 * SECOND } = {}) => {
      const deadline = Date.now() + graceMs
      while (findLeft(folder).length > 0 && Date.now() < deadline) await delay(100)
      const left = findLeft(folder)
      if (left.length > 0) throw new Error(`the tests have left behind: ${left.join(', ')}`)
    },
    close: () => {
      if (before === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = before
    },
  }
}

function findLeft(folder: string): string[] {
  return [...readdirSync(folder).filter((name) => name !== SHARED), ...findProcesses(folder)]
}

/** Where the system shows the environment of processes (Linux). */
function findProcesses(folder: string): string[] {
  const found: string[] = []
  for (const pid of readProcessIds()) {
    const environment = readFileOfProcess(pid, 'environ').split('\0')
    const command = readFileOfProcess(pid, 'cmdline').split('\0').join(' ').trim()
    if (environment.includes(`TMPDIR=${folder}`) && !RUNNER.test(command)) found.push(`${pid} (${command})`)
  }
  return found
}

function readProcessIds(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
}

/** Empty where the process has ended, or belongs to another user. */
function readFileOfProcess(pid: string, name: 'environ' | 'cmdline'): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}
