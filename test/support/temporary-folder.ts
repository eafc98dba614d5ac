/**
 * The temporary folder of a whole run, for its test files and all processes that they start. The run removes it with
 * everything in it, so nothing stays in the system's own temporary folder. A process that still runs with it fails the
 * run; a file in it is named.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const SECOND = 1000
/** The processes of the runner, which it ends after its tear-down. */
const RUNNER = /\/vitest\/dist\/workers\/|vitest-watchdog/
/** Where npm keeps its compiled code on a recent Node, for all of its runs. */
const SHARED = 'node-compile-cache'
const MAX_PATHS = 20

export type TemporaryFolder = {
  /**
   * What a test has killed may take a moment (10 s unless given) to be gone.
   * @returns the paths of files that are still there, at most MAX_PATHS of them.
   * @throws with the processes that still run.
   */
  expectNoProcessLeft(options?: { graceMs?: number }): Promise<string[]>
  close(): void
}

/** Becomes the temporary folder of this process and of those that it starts from here on. */
export function openTemporaryFolder(folder: string): TemporaryFolder {
  mkdirSync(folder)
  chmodSync(folder, 0o1777)
  const before = process.env.TMPDIR
  process.env.TMPDIR = folder
  return {
    expectNoProcessLeft: async ({ graceMs = 10 * SECOND } = {}) => {
      const deadline = Date.now() + graceMs
      const isClean = () => findFiles(folder).length === 0 && findProcesses(folder).length === 0
      while (!isClean() && Date.now() < deadline) await delay(100)
      const processes = findProcesses(folder)
      if (processes.length > 0) throw new Error(`the tests have left behind: ${processes.join(', ')}`)
      return describeFiles(folder)
    },
    close: () => {
      if (before === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = before
    },
  }
}

function findFiles(folder: string): string[] {
  return readdirSync(folder).filter((name) => name !== SHARED)
}

/** With what the directories among them hold: that tells which test made them. */
function describeFiles(folder: string): string[] {
  const paths = findFiles(folder).flatMap((name) => [name, ...contentsOf(folder, name)])
  return paths.slice(0, MAX_PATHS)
}

/** Empty for a file, and for a directory that is being removed. */
function contentsOf(folder: string, name: string): string[] {
  try {
    return readdirSync(path.join(folder, name), { recursive: true }).map((inner) =>
      path.join(name, String(inner)),
    )
  } catch {
    return []
  }
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
