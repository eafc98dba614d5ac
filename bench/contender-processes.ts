/** A contender's processes, with the environment of a production set-up. */
import path from 'node:path'
import { findFreePort } from '../src/local/free-port.ts'
import { type CapturedProcess, launchProcess } from '../test/support/child-process.ts'
import type { Contender } from './contenders.ts'

export type RunningContender = {
  port: number
  receiver: CapturedProcess
  worker: CapturedProcess | undefined
  /** Stops both with SIGTERM. Afterwards the worker's `stdout` is complete. */
  stop(): Promise<void>
}

export type StartOptions = {
  contender: Contender
  databaseUrl: string
  redisUrl: string | undefined
  dataDir: string
  appSecret: string
  /** Added to the environment of every process. */
  env: Record<string, string>
  /** Directory for CPU profiles. */
  profileDir: string | undefined
  /** The names of the profiles begin with it. */
  profileName: string
}

const ROOT = path.resolve(import.meta.dirname, '..')
/** wa-ingest logs a line; the other contenders write the word. */
const READY = /^ready$|"msg":"ready"/m

/** @throws with the output of a process that does not start. */
export async function startContender(options: StartOptions): Promise<RunningContender> {
  const { contender, databaseUrl, redisUrl, dataDir, appSecret, env } = options
  const port = await findFreePort()
  const variables = {
    NODE_ENV: 'production',
    PORT: String(port),
    DATA_DIR: dataDir,
    DATABASE_URL: databaseUrl,
    REDIS_URL: redisUrl,
    META_APP_SECRET: appSecret,
    META_VERIFY_TOKEN: 'bench-verify-token',
    ADMIN_PASSWORD: 'bench-admin-password',
    ...env,
  }
  const start = (part: 'receiver' | 'worker', args: readonly string[]) =>
    launchProcess(process.execPath, [...profileFlags(options, part), ...args], { cwd: ROOT, env: variables })

  const receiver = start('receiver', contender.receiver)
  // The receivers of peers create their tables when they start.
  if (contender.usesPeers) await receiver.waitForOutput(READY)
  const worker = contender.worker && start('worker', contender.worker)
  const stop = async () => {
    await Promise.all([receiver.stop(), worker?.stop()])
  }
  try {
    await Promise.all([receiver.waitForOutput(READY), worker?.waitForOutput(READY)])
  } catch (err) {
    await stop()
    throw err
  }
  return { port, receiver, worker, stop }
}

function profileFlags({ profileDir, profileName }: StartOptions, part: string): string[] {
  if (profileDir === undefined) return []
  return ['--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${profileName}-${part}.cpuprofile`]
}
