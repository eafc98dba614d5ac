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
  const existing = findExisting(link)
  const runAs = existing ? findOwner(existing) : findUnprivilegedUser()
  const directory = existing ?? createDirectory(link, runAs, onLog)
  if (!canOwn(directory, runAs))
    throw new Error(
      `PostgreSQL's data in ${directory} cannot be used by user ${runAs?.name ?? process.getuid?.()}: let that user enter every directory above it (chmod o+x), or set DATA_DIR to another place`,
    )
  return { directory, runAs, native: placeBinaries(postgres, runAs, onLog) }
}

function findExisting(link: string): string | undefined {
  const stat = lstatSync(link, { throwIfNoEntry: false })
  if (!stat) return undefined
  if (existsSync(link)) return realpathSync(link)
  throw new Error(
    `${link} points to ${readlinkSync(link)}, which is gone: bring that directory back, or remove the link to start with an empty database`,
  )
}

/** Data that is there is opened as the user that owns it: which user was chosen may have changed since. */
function findOwner(directory: string): RunAs | undefined {
  if (process.getuid?.() !== 0) return undefined
  const { uid, gid } = statSync(directory)
  if (uid === 0) return adoptEmptyDirectory(directory)
  return findUser(String(uid)) ?? { name: String(uid), uid, gid }
}

/** A volume mounted at DATA_DIR/postgres, for example, is made by root. */
function adoptEmptyDirectory(directory: string): RunAs | undefined {
  const runAs = findUnprivilegedUser()
  if (readdirSync(directory).every((name) => name === 'lost+found')) handOver(directory, runAs)
  return runAs
}

function createDirectory(link: string, runAs: RunAs | undefined, onLog: (line: string) => void): string {
  mkdirSync(link, { mode: 0o700 })
  handOver(link, runAs)
  if (canOwn(link, runAs)) return realpathSync(link)
  rmSync(link, { recursive: true })

  const directory = createSystemDirectory(runAs)
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
    mkdirSync(SYSTEM_DIRECTORY, { recursive: true, mode: 0o755 })
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
    copyBinaries(postgres.native, copy)
    onLog(`user ${runAs.name} cannot run ${postgres.native}, so PostgreSQL runs from a copy in ${copy}`)
  }
  if (runAs && canRun(copy, runAs)) return copy
  const attempt = runCommand(runAs, path.join(postgres.native, 'bin', 'postgres'), ['--version'])
  const reason = attempt.error?.message ?? attempt.stderr.trim()
  throw new Error(`The embedded PostgreSQL does not run on this machine (${reason}): set DATABASE_URL`)
}

/** Complete or not there at all: other starts may look at the same moment. */
function copyBinaries(from: string, to: string): void {
  mkdirSync(SYSTEM_DIRECTORY, { recursive: true, mode: 0o755 })
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
