/** The data of the embedded PostgreSQL: made completely or not at all, and opened only by the version that made it. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import type { PostgresHome } from './postgres-home.ts'
import { leaveToOwnerOfDirectory } from './run-as.ts'

export const DATABASE = 'wa_ingest'
const ROLE = 'wa_ingest'

/** Stored beside the data, readable only by its owner. */
export type Connection = { port: number; password: string }

/** Opens the data directory in the home, or makes it. `settings` go to postgresql.conf of a new one. */
export async function openCluster(
  home: PostgresHome,
  major: number,
  settings: Readonly<Record<string, string>>,
): Promise<Connection> {
  const { data } = home
  const known = readConnection(home.directory)
  const connection = known ?? { port: 0, password: randomBytes(24).toString('base64url') }
  if (!known) writeConnection(home.directory, connection)

  if (!existsSync(data)) await createCluster(home, connection.password, settings)
  else {
    assertVersion(data, major)
    // The file with the password is lost; a new password keeps the data usable.
    if (!known) await runSingleUser(home, data, `ALTER ROLE ${ROLE} PASSWORD '${connection.password}'`)
  }
  return connection
}

export function writeConnection(directory: string, connection: Connection): void {
  const file = path.join(directory, 'connection.json')
  writeFileSync(`${file}.new`, `${JSON.stringify(connection)}\n`, { mode: 0o600 })
  leaveToOwnerOfDirectory(`${file}.new`)
  renameSync(`${file}.new`, file)
}

export function readConnection(directory: string): Connection | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path.join(directory, 'connection.json'), 'utf8'))
    return isConnection(value) ? { port: value.port, password: value.password } : undefined
  } catch {
    return undefined
  }
}

export function connectionUrl({ port, password }: Connection): string {
  return `postgres://${ROLE}:${password}@127.0.0.1:${port}/${DATABASE}`
}

function isConnection(value: unknown): value is Connection {
  return (
    typeof value === 'object' &&
    value !== null &&
    'port' in value &&
    typeof value.port === 'number' &&
    'password' in value &&
    typeof value.password === 'string'
  )
}

function assertVersion(data: string, major: number): void {
  const file = path.join(data, 'PG_VERSION')
  if (!existsSync(file))
    throw new Error(
      `${data} is not the data of a PostgreSQL server (it has no PG_VERSION): move it away to start with an empty database`,
    )
  const found = readFileSync(file, 'utf8').trim()
  if (found !== String(major))
    throw new Error(
      `${data} was made by PostgreSQL ${found}, and this version of wa-ingest brings ${major}: carry it over with pg_dump and pg_restore, or move it away to start with an empty database`,
    )
}

/** Works in another directory and renames it at the end, so an interrupted start leaves nothing that looks like data. */
async function createCluster(
  home: PostgresHome,
  password: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  removeUnfinished(home.directory)
  const unfinished = path.join(home.directory, `data.unfinished-${randomBytes(4).toString('hex')}`)
  const passwordFile = `${unfinished}.password`
  try {
    mkdirSync(unfinished, { mode: 0o700 })
    writeFileSync(passwordFile, password, { mode: 0o600 })
    for (const file of [unfinished, passwordFile])
      if (home.runAs) chownSync(file, home.runAs.uid, home.runAs.gid)
    await runInitdb(home, unfinished, passwordFile, settings)
    await runSingleUser(home, unfinished, `CREATE DATABASE ${DATABASE}`)
    renameSync(unfinished, home.data)
  } catch (err) {
    const reason = err instanceof Error ? err.message : String(err)
    throw new Error(`The embedded PostgreSQL could not be created in ${home.directory}: ${reason}`, {
      cause: err,
    })
  } finally {
    removeUnfinished(home.directory)
  }
}

function removeUnfinished(directory: string): void {
  for (const name of readdirSync(directory))
    if (name.startsWith('data.unfinished-'))
      rmSync(path.join(directory, name), { recursive: true, force: true })
}

function runInitdb(
  home: PostgresHome,
  data: string,
  passwordFile: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const args = ['-D', data, '-U', ROLE, `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8']
  // Sorting and case are then the same on every machine, whatever locales it has.
  args.push('--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8')
  for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`)
  return runToEnd(home, 'initdb', args)
}

/** Runs SQL while the server is not running. */
function runSingleUser(home: PostgresHome, data: string, sql: string): Promise<void> {
  return runToEnd(home, 'postgres', ['--single', '-D', data, 'postgres'], `${sql}\n`)
}

/** @throws Error with the last lines of the program's output. */
function runToEnd(home: PostgresHome, program: string, args: string[], input = ''): Promise<void> {
  const identity = home.runAs ? { uid: home.runAs.uid, gid: home.runAs.gid } : {}
  return new Promise((resolve, reject) => {
    const child = spawn(path.join(home.native, 'bin', program), args, {
      cwd: '/',
      env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...identity,
    })
    let output = ''
    const collect = (chunk: Buffer) => {
      output = (output + chunk).slice(-10_000)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      // A failed statement in single-user mode does not change the exit code.
      if (code === 0 && !/^.*(ERROR|FATAL|PANIC): /m.test(output)) resolve()
      else reject(new Error(lastLines(output) || `${program} ended with ${signal ?? `code ${code}`}`))
    })
  })
}

/** The end of a program's output as one line, for an error message. */
export function lastLines(output: string): string {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  return lines.slice(-4).join(' | ')
}
