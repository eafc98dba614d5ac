/** Running programs as another user, and files that another user has to be able to open. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { chownSync, statSync } from 'node:fs'
import path from 'node:path'
import type { RunAs } from './tethered-process.ts'

/** Runs a program to its end; as the user of this process where `runAs` is undefined. */
export function runAsUser(
  runAs: RunAs | undefined,
  command: string,
  args: readonly string[],
): SpawnSyncReturns<string> {
  const identity = runAs ? { uid: runAs.uid, gid: runAs.gid } : {}
  return spawnSync(command, args, { cwd: '/', encoding: 'utf8', ...identity })
}

/** Gives a file that root made to the owner of its directory, because that user may start the service next time. */
export function leaveToOwnerOfDirectory(file: string): void {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = statSync(path.dirname(file))
  if (uid !== 0) chownSync(file, uid, gid)
}
