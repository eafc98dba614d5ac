import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { isAlive } from '../../src/local/postmaster.ts'
import { eventually } from './eventually.ts'
import { PROJECT, startProcess } from './processes.ts'
import { createTempDirectory } from './temp-directory.ts'

const VITEST = path.join(PROJECT, 'node_modules/vitest/vitest.mjs')
const CONFIG = path.join(import.meta.dirname, 'interrupted-run/vitest.config.ts')

test.for(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
  'a test run ended by %s leaves no server and no process of its tests behind',
  async (signal) => {
    const directory = createTempDirectory()
    const pidsFile = path.join(directory, 'pids')
    const run = startProcess(process.execPath, [VITEST, 'run', '--config', CONFIG], {
      // Killed, it leaves its own files to the next run.
      env: { PIDS_FILE: pidsFile, TMPDIR: directory },
    })
    const pids: number[] = await eventually(() => JSON.parse(readFileSync(pidsFile, 'utf8')), {
      timeoutMs: 50_000,
    })
    expect(pids.filter(isAlive)).toEqual(pids)

    run.kill(signal)

    await eventually(() => expect(pids.filter(isAlive)).toEqual([]))
  },
)
