/**
 * One process at a time, also after kill -9.
 *
 * The lock is an exclusive SQLite transaction that is never committed: a lock of the kernel, which falls with the process
 * that holds it. A file with a process id in it would outlive a kill -9, and its id can by then be another program's.
 */
import { DatabaseSync } from 'node:sqlite'
import { leaveToOwnerOfDirectory } from './run-as.ts'

/** A database that nobody refers to is closed by the garbage collector, and its lock falls. */
const held = new Set<DatabaseSync>()

export type FileLock = { release(): void }

/** The lock on a file made for it, or undefined where somebody else holds it. Throws where it cannot be written. */
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

/** SQLITE_BUSY, whatever its extended code. */
function isBusy(err: unknown): boolean {
  return err instanceof Error && 'errcode' in err && (Number(err.errcode) & 0xff) === 5
}

function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err)
}
