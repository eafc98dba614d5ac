/**
 * CPU time and memory of processes, from Linux' /proc. Elsewhere there is none, and the figures are left out.
 *
 * A server such as PostgreSQL works in child processes that come and go: its time is its own, that of the children it has
 * now, and that of those it had (which the kernel adds up in its parent once they have ended).
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export type ProcessTimes = {
  pid: number
  parent: number
  /** Of the process itself, all threads, in clock ticks. */
  own: number
  /** Of its children that have ended, in clock ticks. */
  ended: number
}

const CLOCK_TICKS_PER_SECOND = readClockTicks()

/** Fields 4 and 14 to 17 of /proc/<pid>/stat, see proc(5). The second field is a name that may hold anything. */
export function parseProcessStat(text: string): ProcessTimes | undefined {
  const nameEnd = text.lastIndexOf(')')
  const pid = Number.parseInt(text, 10)
  const fields = text
    .slice(nameEnd + 2)
    .split(' ')
    .map(Number)
  const at = (field: number) => fields[field - 3] ?? Number.NaN
  const times = { pid, parent: at(4), own: at(14) + at(15), ended: at(16) + at(17) }
  return Number.isNaN(times.ended) ? undefined : times
}

/** Milliseconds of CPU that a process has used; undefined where it cannot be known. */
export function cpuMsOf(pid: number): number | undefined {
  const times = readTimes(pid)
  return times === undefined ? undefined : inMilliseconds(times.own)
}

/** Milliseconds of CPU that a server has used with its child processes, without those in `except`. */
export function cpuMsOfServer(pid: number, except: ReadonlySet<number> = new Set()): number | undefined {
  const server = readTimes(pid)
  if (server === undefined) return undefined
  const children = childrenOf(pid).filter((child) => !except.has(child.pid))
  return inMilliseconds(children.reduce((sum, child) => sum + child.own, server.own + server.ended))
}

/** The processes that the server has started and that are still there. */
export function childrenOf(pid: number): ProcessTimes[] {
  return listProcesses().flatMap((process) => {
    const times = readTimes(process)
    return times?.parent === pid ? [times] : []
  })
}

export function parentOf(pid: number): number | undefined {
  return readTimes(pid)?.parent
}

/** Memory of a process that is in RAM, or the most that has been; undefined where the system does not tell. */
export function residentBytesOf(pid: number, which: 'VmRSS' | 'VmHWM' = 'VmRSS'): number | undefined {
  const text = readProcFile(pid, 'status') ?? ''
  const kilobytes = new RegExp(`^${which}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
}

function readTimes(pid: number): ProcessTimes | undefined {
  const text = readProcFile(pid, 'stat')
  return text === undefined ? undefined : parseProcessStat(text)
}

function listProcesses(): number[] {
  try {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => Number.isInteger(pid))
  } catch {
    return []
  }
}

/** A process may end at any moment. */
function readProcFile(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return undefined
  }
}

function inMilliseconds(ticks: number): number {
  return (ticks / CLOCK_TICKS_PER_SECOND) * 1_000
}

function readClockTicks(): number {
  try {
    return Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) || 100
  } catch {
    return 100
  }
}
