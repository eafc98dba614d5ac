/**
 * The running server, known by the postmaster.pid that PostgreSQL keeps in its data directory: line 1 is the process id,
 * line 4 the port, line 8 the state (https://www.postgresql.org/docs/18/storage-file-layout.html; pg_ctl goes by the same).
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync, realpathSync } from 'node:fs'
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

/** What postmaster.pid says; undefined where there is none or it is half written. The process may be gone. */
export function readPostmaster(data: string): Postmaster | undefined {
  const lines = readLines(path.join(data, 'postmaster.pid'))
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  return { pid, port: Number(lines[3]), isReady: lines[7]?.trim() === 'ready' }
}

/** The server that runs on this data right now; undefined where postmaster.pid is left over or names another program. */
export function findRunningPostmaster(data: string): Postmaster | undefined {
  const postmaster = readPostmaster(data)
  return postmaster && isPostgresOn(postmaster.pid, data) ? postmaster : undefined
}

/** Ends the server, and returns only when it is gone. Throws if even SIGKILL does not help. */
export async function stopPostmaster(pid: number): Promise<void> {
  for (const [signal, patienceMs] of SHUTDOWN) {
    if (!send(pid, signal)) return
    const deadline = Date.now() + patienceMs
    while (Date.now() < deadline) {
      await delay(POLL_INTERVAL_MS)
      if (!isAlive(pid)) return
    }
  }
  throw new Error(`PostgreSQL (process ${pid}) does not stop`)
}

/** Is there a process with this id, whoever it belongs to? */
export function isAlive(pid: number): boolean {
  return send(pid, 0)
}

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** A process id alone proves nothing: after a reboot it is often another program's. The server works in its data directory. */
function isPostgresOn(pid: number, data: string): boolean {
  if (!isAlive(pid)) return false
  try {
    if (process.platform === 'linux') return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data)
    const command = execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
    return command.includes('postgres') && command.includes(data)
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
