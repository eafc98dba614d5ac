/**
 * A child process that does not outlive us.
 *
 * It runs in a session of its own, so Ctrl-C on the terminal reaches only us and we end it in our own order. Its tether
 * is a shell that waits on a pipe whose other end only we hold: when we are gone, by kill -9 as well, the kernel closes
 * the pipe and the shell ends the child. A handler in our own process could not do that.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'

/** A user to run a child process as, when we are root. */
export type RunAs = { name: string; uid: number; gid: number }

export type TetheredOptions = {
  /** Sent when we are gone. SIGKILL follows after `graceSeconds`. */
  endSignal: 'INT' | 'TERM' | 'KILL'
  graceSeconds?: number
  /** Ends what the child has started as well, unless that left the child's process group. */
  endsGroup?: boolean
  runAs?: RunAs | undefined
  cwd?: string
  env?: NodeJS.ProcessEnv
  stdio?: SpawnOptions['stdio']
}

// Reads until the pipe closes; nothing is ever written to it.
const TETHER = `
read -r _
kill -s "$2" -- "$1" 2>/dev/null || exit 0
seconds=$3
while [ "$seconds" -gt 0 ]; do
  sleep 1
  kill -s 0 -- "$1" 2>/dev/null || exit 0
  seconds=$((seconds - 1))
done
kill -s KILL -- "$1" 2>/dev/null
`

/** Starts a process that is ended when ours ends, however ours ends. A failed start is reported by the 'error' event. */
export function spawnTethered(
  command: string,
  args: readonly string[],
  options: TetheredOptions,
): ChildProcess {
  const identity = options.runAs ? { uid: options.runAs.uid, gid: options.runAs.gid } : {}
  const child = spawn(command, args, {
    detached: true,
    cwd: options.cwd ?? '/',
    env: options.env ?? process.env,
    stdio: options.stdio ?? 'ignore',
    ...identity,
  })
  if (child.pid === undefined) return child

  const target = options.endsGroup ? `-${child.pid}` : String(child.pid)
  const tether = spawn(
    '/bin/sh',
    ['-c', TETHER, 'tether', target, options.endSignal, String(options.graceSeconds ?? 10)],
    { detached: true, cwd: '/', stdio: ['pipe', 'ignore', 'ignore'], ...identity },
  )
  tether.on('error', () => {})
  tether.unref()
  // Untied before the child's id can belong to another process.
  child.once('exit', () => tether.kill('SIGKILL'))
  return child
}
