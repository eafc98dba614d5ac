/** PostgreSQL's binaries in a place where the user that it runs as can execute them: as installed, or a copy. */
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import type { PostgresPackage } from './postgres-package.ts'
import { runAsUser } from './run-as.ts'
import { SYSTEM_DIRECTORY, withOpenUmask } from './system-directory.ts'
import type { RunAs } from './tethered-process.ts'

/**
 * The folder with bin/, lib/ and share/. A copy belongs to root, and every clone on the machine uses it.
 * @throws Error where the binaries do not run at all.
 */
export function findRunnableBinaries(
  postgres: PostgresPackage,
  runAs: RunAs | undefined,
  onLog: (line: string) => void,
): string {
  if (canRun(postgres.native, runAs)) return postgres.native
  if (!runAs) throw new Error(explain(postgres.native))
  const copy = path.join(SYSTEM_DIRECTORY, `postgresql-${postgres.version}`)
  if (!existsSync(copy)) {
    // Where root cannot run them either, a copy would not help.
    if (!canRun(postgres.native, undefined)) throw new Error(explain(postgres.native))
    withOpenUmask(() => copyBinaries(postgres.native, copy))
    onLog(`user ${runAs.name} cannot run ${postgres.native}, so PostgreSQL runs from a copy in ${copy}`)
  }
  if (canRun(copy, runAs)) return copy
  throw new Error(explain(copy, runAs))
}

function canRun(native: string, runAs: RunAs | undefined): boolean {
  return tryToRun(native, runAs).status === 0
}

function tryToRun(native: string, runAs: RunAs | undefined) {
  return runAsUser(runAs, path.join(native, 'bin', 'postgres'), ['--version'])
}

function explain(native: string, runAs?: RunAs): string {
  const attempt = tryToRun(native, runAs)
  const reason = attempt.error?.message ?? attempt.stderr.trim()
  return `The embedded PostgreSQL does not run on this machine (${reason}): set DATABASE_URL to a PostgreSQL server`
}

/** Renames the complete copy to its place, because other starts may look for it at the same moment. */
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
