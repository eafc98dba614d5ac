/**
 * A child process that ends when this process ends.
 *
 * The child runs in a session of its own, so Ctrl-C on the terminal reaches only this process, which then stops the child in
 * the right order. The tether is a shell that reads from a pipe whose other end is open only in this process. When this
 * process ends, even by kill -9, the kernel closes the pipe and the shell ends the child. A handler in this process could
 * not do that.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'

/** The user that root runs a child process as. */
export type RunAs = { name: string; uid: number; gid: number }

export type TetheredOptions = {
  /** Sent to the child when this process has ended. SIGKILL follows after `graceSeconds`. */
  endSignal: 'INT' | 'TERM' | 'KILL'
  graceSeconds?: number
  /** Also ends the processes that the child has started, unless they left its process group. */
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

/** Starts a process that ends when this process ends, however that ends. A failed start emits the event 'error'. */
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
  // Ended at once, because another process may get the child's id later.
  child.once('exit', () => tether.kill('SIGKILL'))
  return child
}
