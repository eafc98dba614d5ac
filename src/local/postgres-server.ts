/** The server of the embedded PostgreSQL: a child process, started again if it ends before it is stopped. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, renameSync, statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findFreePort } from './free-port.ts'
import { type Connection, lastLines, writeConnection } from './postgres-cluster.ts'
import type { PostgresHome } from './postgres-home.ts'
import { readPostmaster, removeMisleadingPidFile, stopPostmaster } from './postmaster.ts'
import { leaveToOwnerOfDirectory } from './run-as.ts'
import { spawnTethered } from './tethered-process.ts'

const SECOND = 1000
const POLL_INTERVAL_MS = 20
/** Replaying the log after a crash can take long on a slow disk. Then the operator gets a message, and the start goes on. */
const SLOW_START_MS = 5 * SECOND
const START_TIMEOUT_MS = 300 * SECOND
const RESTART_DELAY_MS = 0.5 * SECOND
const START_ATTEMPTS = 5
const MAX_LOG_BYTES = 10 * 1024 * 1024

/**
 * Failures that pass: another program took the port after it was found free, or the processes of a killed server have not
 * ended yet.
 */
const PASSING_FAILURE = /Address already in use|pre-existing shared memory block/

export type PostgresServer = { port: number; stop(): Promise<void> }

type Launch = { home: PostgresHome; port: number; onLog: (line: string) => void }

/** Starts the server, and keeps it running on the same port until it is stopped. @throws Error if it does not start. */
export async function startPostgresServer(
  home: PostgresHome,
  connection: Connection,
  onLog: (line: string) => void,
): Promise<PostgresServer> {
  const launch: Launch = { home, port: 0, onLog }
  let child = await firstLaunch(launch, connection)
  const stopping = new AbortController()
  const supervised = supervise()

  async function supervise(): Promise<void> {
    while (!stopping.signal.aborted) {
      await ended(child)
      if (stopping.signal.aborted) return
      onLog(`PostgreSQL ended by itself (${child.signalCode ?? child.exitCode}): starting it again`)
      child = (await relaunch(launch, stopping.signal)) ?? child
    }
    if (child.pid !== undefined) await stopPostmaster(child.pid)
  }

  return {
    port: launch.port,
    async stop() {
      stopping.abort()
      if (child.pid !== undefined && !hasEnded(child)) await stopPostmaster(child.pid)
      await supervised
    },
  }
}

/** Uses the port of the last start where it is free, so that a stored URL keeps working. */
async function firstLaunch(launch: Launch, connection: Connection): Promise<ChildProcess> {
  for (let attempt = 1; ; attempt += 1) {
    launch.port = await findFreePort(attempt === 1 ? connection.port : 0)
    try {
      const child = await launchServer(launch)
      if (launch.port !== connection.port)
        writeConnection(launch.home.directory, { ...connection, port: launch.port })
      return child
    } catch (err) {
      const isPassing = err instanceof Error && PASSING_FAILURE.test(err.message)
      if (!isPassing || attempt === START_ATTEMPTS) throw err
      await delay(RESTART_DELAY_MS)
    }
  }
}

async function relaunch(launch: Launch, stopping: AbortSignal): Promise<ChildProcess | undefined> {
  while (!stopping.aborted) {
    try {
      await delay(RESTART_DELAY_MS, undefined, { signal: stopping })
      return await launchServer(launch)
    } catch (err) {
      if (!stopping.aborted) launch.onLog(err instanceof Error ? err.message : String(err))
    }
  }
  return undefined
}

async function launchServer({ home, port, onLog }: Launch): Promise<ChildProcess> {
  const { data } = home
  removeMisleadingPidFile(data)
  const log = openLog(home)
  const child = spawnTethered(
    path.join(home.native, 'bin', 'postgres'),
    // Only the settings that must not be changed; the others are in postgresql.conf.
    ['-D', data, '-c', `port=${port}`, '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    {
      endSignal: 'INT',
      runAs: home.runAs,
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
      stdio: ['ignore', log.fd, log.fd],
    },
  )
  closeSync(log.fd)
  let spawnError: Error | undefined
  child.on('error', (err) => {
    spawnError = err
  })
  if (await isReady(child, data, onLog)) return child

  if (child.pid !== undefined && !hasEnded(child)) await stopPostmaster(child.pid)
  const reason = spawnError?.message ?? lastLines(readFileSync(log.file, 'utf8').slice(log.size))
  throw new Error(`The embedded PostgreSQL does not start: ${reason} (its log: ${log.file})`)
}

async function isReady(child: ChildProcess, data: string, onLog: (line: string) => void): Promise<boolean> {
  const startedAt = Date.now()
  let isSlow = false
  while (child.pid !== undefined && !hasEnded(child)) {
    const postmaster = readPostmaster(data)
    if (postmaster?.pid === child.pid && postmaster.isReady) return true
    const elapsedMs = Date.now() - startedAt
    if (elapsedMs > START_TIMEOUT_MS) return false
    if (elapsedMs > SLOW_START_MS && !isSlow) {
      isSlow = true
      onLog('PostgreSQL is still starting: it replays its log after it was not stopped in order')
    }
    await delay(POLL_INTERVAL_MS)
  }
  return false
}

function openLog(home: PostgresHome): { file: string; fd: number; size: number } {
  const file = path.join(home.directory, 'postgres.log')
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  if (size > MAX_LOG_BYTES) renameSync(file, `${file}.old`)
  const fd = openSync(file, 'a', 0o600)
  leaveToOwnerOfDirectory(file)
  return { file, fd, size: size > MAX_LOG_BYTES ? 0 : size }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

async function ended(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) await once(child, 'exit')
}
