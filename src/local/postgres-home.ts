/**
 * The home of the embedded PostgreSQL: DATA_DIR/postgres, unless the user that PostgreSQL runs as cannot reach it (a clone
 * under /root, for example). Then DATA_DIR/postgres is a symbolic link to a directory under /var/lib/wa-ingest. Later starts
 * follow the link, so they find the data even if permissions change.
 *
 * When this process is root, the home belongs to root and only `data` in it to that user. In a directory of its own that
 * user could replace the files that root writes by links to other files.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import path from 'node:path'
import type { PostgresPackage } from './postgres-package.ts'
import { runAsUser } from './run-as.ts'
import { findRunnableBinaries } from './runnable-binaries.ts'
import { SYSTEM_DIRECTORY, withOpenUmask } from './system-directory.ts'
import type { RunAs } from './tethered-process.ts'
import { findUnprivilegedUser, findUser } from './unprivileged-user.ts'

export type PostgresHome = {
  /** Without symbolic links. */
  directory: string
  /** PostgreSQL's data directory, in the home. */
  data: string
  /** The user that PostgreSQL runs as; undefined: the user of this process, which is not root. */
  runAs: RunAs | undefined
  /** The folder with bin/, lib/ and share/, where that user can execute them. */
  native: string
}

type Log = (line: string) => void

/**
 * Finds or makes the home. `onLog` is called with what is in another place than expected.
 * @throws Error with the next step.
 */
export function prepareHome(dataDir: string, postgres: PostgresPackage, onLog: Log): PostgresHome {
  const link = path.join(dataDir, 'postgres')
  const found = findDirectory(link)
  const runAs = found ? findOwner(path.join(found, 'data')) : findUnprivilegedUser()
  if (found) assertUsable(path.join(found, 'data'), runAs)
  const directory = found ?? createDirectory(link, runAs, onLog)
  const native = findRunnableBinaries(postgres, runAs, onLog)
  return { directory, data: path.join(directory, 'data'), runAs, native }
}

/** The home of an earlier start. One without data does not count: the start was interrupted, or it is a mounted volume. */
function findDirectory(link: string): string | undefined {
  if (!lstatSync(link, { throwIfNoEntry: false })) return undefined
  if (!existsSync(link))
    throw new Error(
      `${link} points to ${readlinkSync(link)}, which is gone: bring that directory back, or remove the link to start with an empty database`,
    )
  return existsSync(path.join(link, 'data')) ? realpathSync(link) : undefined
}

/** Existing data is opened as the user that owns it, because the choice of the user may have changed since. */
function findOwner(data: string): RunAs | undefined {
  if (process.getuid?.() !== 0) return undefined
  const { uid, gid } = statSync(data)
  if (uid === 0) return findUnprivilegedUser()
  return findUser(String(uid)) ?? { name: String(uid), uid, gid }
}

function assertUsable(data: string, runAs: RunAs | undefined): void {
  if (canOwn(data, runAs)) return
  const { uid } = statSync(data)
  const user = runAs?.uid ?? process.getuid?.()
  const problem =
    uid === user
      ? `cannot be reached by user ${runAs?.name ?? uid}: let it enter every directory above (chmod o+x)`
      : `belongs to user ${uid} and not to user ${runAs?.name ?? user}: start wa-ingest as root or as its owner`
  throw new Error(`PostgreSQL's data in ${data} ${problem}, or set DATA_DIR to another directory`)
}

function createDirectory(link: string, runAs: RunAs | undefined, onLog: Log): string {
  mkdirSync(link, { recursive: true })
  if (runAs) chmodSync(link, 0o755)
  if (canHoldData(link, runAs)) return realpathSync(link)
  if (!runAs) throw new Error(`PostgreSQL cannot keep its data in ${link}: set DATA_DIR to another directory`)

  removeEmptyDirectory(link)
  const directory = withOpenUmask(() => createSystemDirectory(runAs))
  symlinkSync(directory, link)
  onLog(
    `user ${runAs.name} cannot use ${path.dirname(link)}, so PostgreSQL's data is in ${directory} (${link} links to it; remove both to start afresh)`,
  )
  return directory
}

function removeEmptyDirectory(link: string): void {
  try {
    if (lstatSync(link).isSymbolicLink()) rmSync(link)
    else rmdirSync(link)
  } catch (err) {
    throw new Error(
      `${link} is in the way: PostgreSQL cannot use it, and it cannot be removed; move it away, or set DATA_DIR to another directory`,
      { cause: err },
    )
  }
}

function createSystemDirectory(runAs: RunAs): string {
  const next = `set DATA_DIR to a directory that user ${runAs.name} can enter, or set DATABASE_URL`
  let directory: string
  try {
    mkdirSync(SYSTEM_DIRECTORY, { recursive: true })
    directory = mkdtempSync(path.join(SYSTEM_DIRECTORY, 'data-'))
    chmodSync(directory, 0o755)
  } catch (err) {
    throw new Error(`PostgreSQL's data cannot be placed in ${SYSTEM_DIRECTORY}: ${next}`, { cause: err })
  }
  if (canHoldData(directory, runAs)) return directory
  rmdirSync(directory)
  throw new Error(`user ${runAs.name} cannot use ${SYSTEM_DIRECTORY} for PostgreSQL's data: ${next}`)
}

/** Tries it with a directory like PostgreSQL's: some mounts do not let root change the owner of a file. */
function canHoldData(home: string, runAs: RunAs | undefined): boolean {
  const trial = mkdtempSync(path.join(home, 'trial-'))
  try {
    if (runAs) chownSync(trial, runAs.uid, runAs.gid)
    return canOwn(trial, runAs)
  } catch {
    return false
  } finally {
    rmdirSync(trial)
  }
}

/** Tries it instead of reading permission bits, because ACLs, mounts and security modules decide too. */
function canOwn(directory: string, runAs: RunAs | undefined): boolean {
  const script = 'cd "$1" && test -O . && test -w . && chmod 700 .'
  return runAsUser(runAs, '/bin/sh', ['-c', script, 'sh', directory]).status === 0
}
