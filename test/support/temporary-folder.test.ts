import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { cleanUp } from './clean-up.ts'
import { startProcess } from './processes.ts'
import { createTempDirectory } from './temp-directory.ts'
import { openTemporaryFolder } from './temporary-folder.ts'

function openFolder() {
  const folder = openTemporaryFolder(path.join(createTempDirectory(), 'tmp'))
  cleanUp(() => folder.close())
  return folder
}

test('files that are left behind are named, until they are removed', async () => {
  const folder = openFolder()
  const left = mkdtempSync(path.join(tmpdir(), 'left-'))

  expect(await folder.expectNoProcessLeft({ graceMs: 0 })).toEqual([path.basename(left)])

  rmSync(left, { recursive: true })
  expect(await folder.expectNoProcessLeft()).toEqual([])
})

// Only there a process can be told by its environment.
test.runIf(process.platform === 'linux')('processes that still run are named, until they end', async () => {
  const folder = openFolder()
  const left = startProcess('sleep', ['600'])

  await expect(folder.expectNoProcessLeft({ graceMs: 0 })).rejects.toThrow(`${left.pid} (sleep 600)`)

  left.kill()
  await folder.expectNoProcessLeft()
})
