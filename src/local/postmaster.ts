/**
 * The running server, as described by the file postmaster.pid that PostgreSQL keeps in its data directory: line 1 is the
 * process id, line 4 the port, line 8 the state (https://www.postgresql.org/docs/18/storage-file-layout.html; pg_ctl reads
 * the same lines).
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const POLL_INTERVAL_MS = 20

/** Fast shutdown, then immediate (the next start replays the log; nothing is lost), then kill. Together under 3 s. */
const SHUTDOWN: readonly [NodeJS.Signals, patienceMs: number][] = [
  ['SIGINT', 2000],
  ['SIGQUIT', 500],
  ['SIGKILL', 400],
]

export type Postmaster = { pid: number; port: number; isReady: boolean }

/** Reads postmaster.pid; undefined where there is none or it is incomplete. The process may be gone. */
export function readPostmaster(data: string): Postmaster | undefined {
  const lines = readLines(path.join(data, 'postmaster.pid'))
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  return { pid, port: Number(lines[3]), isReady: lines[7]?.trim() === 'ready' }
}

/** The server that runs on this data now; undefined where postmaster.pid is left over or names another program. */
export function findRunningPostmaster(data: string): Postmaster | undefined {
  const postmaster = readPostmaster(data)
  return postmaster && isPostgresOn(postmaster.pid, data) ? postmaster : undefined
}

/**
 * Removes a postmaster.pid that is left over and names a process of another program (after a reboot, or in another
 * container) or a zombie, because PostgreSQL would refuse to start. In every other case PostgreSQL handles the file itself,
 * and needs it to see that processes of a killed server still work on the data.
 */
export function removeMisleadingPidFile(data: string): void {
  const postmaster = readPostmaster(data)
  if (!postmaster || !send(postmaster.pid, 0)) return
  if (findRunningPostmaster(data) || isInUse(data)) return
  rmSync(path.join(data, 'postmaster.pid'), { force: true })
}

/** Stops the server, and returns when its process is gone. @throws Error if it is still there after SIGKILL. */
export async function stopPostmaster(pid: number): Promise<void> {
  for (const [signal, patienceMs] of SHUTDOWN) {
    send(pid, signal)
    const deadline = Date.now() + patienceMs
    while (Date.now() < deadline) {
      if (!isAlive(pid)) return
      await delay(POLL_INTERVAL_MS)
    }
  }
  throw new Error(`PostgreSQL (process ${pid}) does not stop`)
}

/** Whether a process with this id runs, of whatever user. A zombie does not count as running. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (err) {
    return err instanceof Error && 'code' in err && err.code === 'EPERM'
  }
  return !/^State:\s+Z/m.test(readLines(`/proc/${pid}/status`).join('\n'))
}

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** After a reboot another program may have the process id. PostgreSQL's working directory is its data directory. */
function isPostgresOn(pid: number, data: string): boolean {
  if (!isAlive(pid)) return false
  if (process.platform === 'linux') return worksIn(pid, data)
  try {
    const command = execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
    return command.includes('postgres') && command.includes(data)
  } catch {
    return false
  }
}

function isInUse(data: string): boolean {
  if (process.platform !== 'linux') return false
  return readdirSync('/proc').some((name) => /^\d+$/.test(name) && worksIn(Number(name), data))
}

function worksIn(pid: number, directory: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(directory)
  } catch {
    return false
  }
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch {
    return []
  }
}
