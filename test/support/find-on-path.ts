import { accessSync, constants } from 'node:fs'
import path from 'node:path'

/** The file of the first of these programs that is in a directory of PATH or in one of the others. */
export function findOnPath(
  programs: readonly string[],
  otherDirectories: readonly string[] = [],
): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(path.delimiter), ...otherDirectories]
  return directories
    .filter((directory) => directory !== '')
    .flatMap((directory) => programs.map((program) => path.join(directory, program)))
    .find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
