/** Real processes in tests. Each process is killed at the end of the test that started it. */
import path from 'node:path'
import { type CapturedProcess, type CaptureOptions, launchProcess } from './child-process.ts'
import { cleanUp, cleanUpAtEndOfFile } from './clean-up.ts'

export type { CapturedProcess, ProcessEnd } from './child-process.ts'
export { findFreePort } from './free-port.ts'

/** `file`: goes on when the test is over that started it. */
export type StartOptions = CaptureOptions & { livesWith?: 'test' | 'file' }

/** The root of the project. */
export const PROJECT = path.resolve(import.meta.dirname, '../..')

/**
 * Starts a program, killed with all that it has started when the test (or the file) is over. `env` is added to PATH,
 * HOME and the like; no other variable is inherited.
 */
export function startProcess(
  command: string,
  args: readonly string[] = [],
  { livesWith = 'test', ...options }: StartOptions = {},
): CapturedProcess {
  const child = launchProcess(command, args, options)
  const atEnd = livesWith === 'test' ? cleanUp : cleanUpAtEndOfFile
  atEnd(async () => {
    child.killGroup()
    await child.ended
  })
  return child
}

/** PATH with the Node of the machine's npm, which is not the one that runs the tests. */
export function pathWithoutOurNode(): string {
  const folders = (process.env.PATH ?? '').split(path.delimiter)
  return folders.filter((folder) => !folder.includes('node_modules')).join(path.delimiter)
}

/** As bin/wa-ingest.js starts it: without them V8 takes the more memory, the more the machine has. */
const NODE_FLAGS = ['--max-semi-space-size=8']

/** `node src/cli/main.ts …` on the Node that runs the tests. */
export function startCli(args: readonly string[], options: StartOptions = {}): CapturedProcess {
  return startProcess(process.execPath, [...NODE_FLAGS, path.join(PROJECT, 'src/cli/main.ts'), ...args], {
    cwd: PROJECT,
    ...options,
  })
}
