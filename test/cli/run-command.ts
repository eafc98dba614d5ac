/** A command line in this process: what it writes, and its exit code. */
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { main } from '../../src/cli/main.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

export type CommandResult = { code: number; stdout: string; stderr: string }

export async function runCommand(
  args: readonly string[],
  env: Record<string, string> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<CommandResult> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const written = Promise.all([text(stdout), text(stderr)])
  const code = await main(args, { env: { DATA_DIR: createTempDirectory(), ...env }, stdout, stderr, signal })
  stdout.end()
  stderr.end()
  const [out, err] = await written
  return { code, stdout: out, stderr: err }
}
