/**
 * Where the embedded PostgreSQL lives: DATA_DIR/postgres, unless the user that it must run as cannot enter there (a clone
 * under /root, say). Then DATA_DIR/postgres is a symbolic link to a directory under /var/lib/wa-ingest: the link is what
 * later starts go by, so the data stays found even if the permissions change.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import path from 'node:path'
import type { PostgresPackage } from './postgres-package.ts'
import type { RunAs } from './tethered-process.ts'
import { findUnprivilegedUser, findUser } from './unprivileged-user.ts'

const SYSTEM_DIRECTORY = '/var/lib/wa-ingest'

export type PostgresHome = {
  /** Owned by the user that PostgreSQL runs as; without symbolic links. */
  directory: string
  /** Undefined where we are not root. */
  runAs: RunAs | undefined
  /** The binaries, where that user can execute them. */
  native: string
}

/** Makes or finds the home. `onLog` hears what was put in another place than expected. Throws with the next step to take. */
export function prepareHome(
  dataDir: string,
  postgres: PostgresPackage,
  onLog: (line: string) => void,
): PostgresHome {
  const link = path.join(dataDir, 'postgres')
  const found = findDirectory(link)
  const runAs = found ? findOwner(found) : findUnprivilegedUser()
  const directory = found ?? createDirectory(link, runAs, onLog)
  if (!canOwn(directory, runAs)) throw new Error(explainUnusable(directory, runAs))
  return { directory, runAs, native: placeBinaries(postgres, runAs, onLog) }
}

/** The directory of an earlier start; an empty one is none (a mounted volume, or an interrupted start). */
function findDirectory(link: string): string | undefined {
  const stat = lstatSync(link, { throwIfNoEntry: false })
  if (!stat) return undefined
  if (!existsSync(link))
    throw new Error(
      `${link} points to ${readlinkSync(link)}, which is gone: bring that directory back, or remove the link to start with an empty database`,
    )
  const directory = realpathSync(link)
  return isEmpty(directory) ? undefined : directory
}

function isEmpty(directory: string): boolean {
  try {
    return readdirSync(directory).every((name) => name === 'lost+found')
  } catch {
    return false
  }
}

/** Data that is there is opened as the user that owns it: which user was chosen may have changed since. */
function findOwner(directory: string): RunAs | undefined {
  if (process.getuid?.() !== 0) return undefined
  const { uid, gid } = statSync(directory)
  if (uid === 0) return findUnprivilegedUser()
  return findUser(String(uid)) ?? { name: String(uid), uid, gid }
}

function explainUnusable(directory: string, runAs: RunAs | undefined): string {
  const { uid } = statSync(directory)
  const user = runAs?.uid ?? process.getuid?.()
  const problem =
    uid === user
      ? `cannot be reached by user ${runAs?.name ?? uid}: let it enter every directory above (chmod o+x)`
      : `belongs to user ${uid} and not to user ${runAs?.name ?? user}: start wa-ingest as root or as that user`
  return `PostgreSQL's data in ${directory} ${problem}, or set DATA_DIR to another directory`
}

function createDirectory(link: string, runAs: RunAs | undefined, onLog: (line: string) => void): string {
  mkdirSync(link, { recursive: true, mode: 0o700 })
  handOver(link, runAs)
  if (canOwn(link, runAs)) return realpathSync(link)
  rmSync(link, { recursive: true })

  const directory = withOpenUmask(() => createSystemDirectory(runAs))
  symlinkSync(directory, link)
  onLog(
    `user ${runAs?.name} cannot enter ${path.dirname(link)}, so PostgreSQL's data is in ${directory} (${link} links to it; remove both to start afresh)`,
  )
  return directory
}

function createSystemDirectory(runAs: RunAs | undefined): string {
  const next = `set DATA_DIR to a directory that user ${runAs?.name ?? process.getuid?.()} can enter, or set DATABASE_URL`
  if (!runAs) throw new Error(`PostgreSQL cannot keep its data in the data directory: ${next}`)
  try {
    mkdirSync(SYSTEM_DIRECTORY, { recursive: true })
    const directory = mkdtempSync(path.join(SYSTEM_DIRECTORY, 'data-'))
    handOver(directory, runAs)
    if (canOwn(directory, runAs)) return directory
    rmSync(directory, { recursive: true })
  } catch (err) {
    throw new Error(`PostgreSQL's data cannot be placed in ${SYSTEM_DIRECTORY}: ${next}`, { cause: err })
  }
  throw new Error(`PostgreSQL's data cannot be placed in ${SYSTEM_DIRECTORY}: ${next}`)
}

function handOver(directory: string, runAs: RunAs | undefined): void {
  if (runAs) chownSync(directory, runAs.uid, runAs.gid)
}

/** Tried rather than worked out from permission bits: mounts, ACLs and security modules have a say as well. */
function canOwn(directory: string, runAs: RunAs | undefined): boolean {
  return succeedsAs(runAs, '/bin/sh', [
    '-c',
    'cd "$1" && test -O . && test -w . && chmod 700 .',
    'sh',
    directory,
  ])
}

/** The binaries as installed, or a copy that belongs to root where the user cannot reach node_modules. */
function placeBinaries(
  postgres: PostgresPackage,
  runAs: RunAs | undefined,
  onLog: (line: string) => void,
): string {
  if (canRun(postgres.native, runAs)) return postgres.native
  const copy = path.join(SYSTEM_DIRECTORY, `postgresql-${postgres.version}`)
  if (runAs && !existsSync(copy)) {
    withOpenUmask(() => copyBinaries(postgres.native, copy))
    onLog(`user ${runAs.name} cannot run ${postgres.native}, so PostgreSQL runs from a copy in ${copy}`)
  }
  if (runAs && canRun(copy, runAs)) return copy
  const attempt = runCommand(runAs, path.join(postgres.native, 'bin', 'postgres'), ['--version'])
  const reason = attempt.error?.message ?? attempt.stderr.trim()
  throw new Error(`The embedded PostgreSQL does not run on this machine (${reason}): set DATABASE_URL`)
}

/** Under the umask 077 of a careful root, that user could not enter what is made for it. */
function withOpenUmask<T>(make: () => T): T {
  const umask = process.umask(0o022)
  try {
    return make()
  } finally {
    process.umask(umask)
  }
}

/** Complete or not there at all: other starts may look at the same moment. */
function copyBinaries(from: string, to: string): void {
  mkdirSync(SYSTEM_DIRECTORY, { recursive: true })
  const temporary = mkdtempSync(path.join(SYSTEM_DIRECTORY, '.copy-'))
  try {
    cpSync(from, temporary, { recursive: true, verbatimSymlinks: true })
    chmodSync(temporary, 0o755)
    renameSync(temporary, to)
  } catch (err) {
    rmSync(temporary, { recursive: true, force: true })
    if (!existsSync(to)) throw err
  }
}

function canRun(native: string, runAs: RunAs | undefined): boolean {
  return succeedsAs(runAs, path.join(native, 'bin', 'postgres'), ['--version'])
}

function succeedsAs(runAs: RunAs | undefined, command: string, args: string[]): boolean {
  return runCommand(runAs, command, args).status === 0
}

function runCommand(runAs: RunAs | undefined, command: string, args: string[]) {
  const identity = runAs ? { uid: runAs.uid, gid: runAs.gid } : {}
  return spawnSync(command, args, { cwd: '/', encoding: 'utf8', ...identity })
}
