/** Stops, continues or kills a server that works in child processes, such as PostgreSQL. Linux only: it reads /proc. */
import { childrenOf } from './process-times.ts'

/**
 * Signals the server and its children. The server stops first and continues last: a stopped server starts no more children.
 * @throws where the processes belong to another user.
 */
export function signalServer(pid: number, signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
  const pids = [pid, ...childrenOf(pid).map((child) => child.pid)]
  for (const each of signal === 'SIGCONT' ? pids.reverse() : pids) signalProcess(each, signal)
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (err) {
    // The process has ended in the meantime.
    if (err instanceof Error && 'code' in err && err.code === 'ESRCH') return
    throw new Error('the processes of the server belong to another user, so they cannot be signalled', {
      cause: err,
    })
  }
}
