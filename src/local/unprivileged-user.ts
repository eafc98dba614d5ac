/**
 * PostgreSQL refuses to run as root. When this process is root, PostgreSQL runs as `postgres` if that user exists, else as
 * `nobody`, which exists on every Linux and macOS. So no user has to be added to the machine.
 */
import { execFileSync } from 'node:child_process'
import type { RunAs } from './tethered-process.ts'

const CANDIDATES = ['postgres', '_postgres', 'nobody']

/** The user to run PostgreSQL as; undefined: the user of this process, which is not root. */
export function findUnprivilegedUser(): RunAs | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of CANDIDATES) {
    const user = findUser(name)
    if (user) return user
  }
  throw new Error(
    'PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as: create one (useradd --system postgres), run as another user, or set DATABASE_URL',
  )
}

/** A user by name or numeric id; undefined where there is no such user or it is root. */
export function findUser(nameOrId: string): RunAs | undefined {
  try {
    const uid = readId('-u', nameOrId)
    const name = execFileSync('id', ['-un', nameOrId], { encoding: 'utf8', stdio: 'pipe' }).trim()
    return uid === 0 ? undefined : { name, uid, gid: readId('-g', nameOrId) }
  } catch {
    return undefined
  }
}

/** macOS prints the id -2 of nobody as 4294967294, which spawn() accepts only as a signed number. */
function readId(flag: '-u' | '-g', name: string): number {
  return Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: 'pipe' })) | 0
}
