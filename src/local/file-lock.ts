/**
 * A lock that one process has at a time, and that a kill -9 releases.
 *
 * The lock is an exclusive SQLite transaction that is never committed. That is a lock of the kernel, which releases it when
 * the process ends. A file with a process id would stay after a kill -9, and by then another program may have that id.
 */
import { DatabaseSync } from 'node:sqlite'
import { leaveToOwnerOfDirectory } from './run-as.ts'

/** Keeps the databases referenced: the garbage collector closes an unreferenced one, which releases its lock. */
const held = new Set<DatabaseSync>()

export type FileLock = { release(): void }

/**
 * Locks a file that is made for this purpose. Undefined where another process has the lock.
 * @throws Error where the file cannot be written.
 */
export function lockFile(file: string): FileLock | undefined {
  const database = openDatabase(file)
  leaveToOwnerOfDirectory(file)
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (err) {
    database.close()
    if (isBusy(err)) return undefined
    throw new Error(`${file} cannot be locked (${messageOf(err)}): does it belong to another user?`, {
      cause: err,
    })
  }
  held.add(database)
  return {
    release() {
      if (held.delete(database)) database.close()
    },
  }
}

function openDatabase(file: string): DatabaseSync {
  try {
    return new DatabaseSync(file)
  } catch (err) {
    throw new Error(`${file} cannot be written: ${messageOf(err)}`, { cause: err })
  }
}

/** SQLITE_BUSY (5), whatever its extended code. */
function isBusy(err: unknown): boolean {
  return err instanceof Error && 'errcode' in err && (Number(err.errcode) & 0xff) === 5
}

function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err)
}
