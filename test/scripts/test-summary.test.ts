import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { PROJECT, startProcess } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const passed = { status: 'passed', fullName: 'stores it' }
const failed = { status: 'failed', fullName: 'stores it once' }
const skipped = { status: 'skipped', fullName: 'stores it on Redis' }

test('closes with the numbers alone on a line', async () => {
  const { code, stdout } = await summarize([{ status: 'passed', assertionResults: [passed, passed] }])

  expect(stdout).toBe('2 passed, 0 failed\n')
  expect(code).toBe(0)
})

test('fails when a test has failed', async () => {
  const { code, stdout } = await summarize([{ status: 'failed', assertionResults: [passed, failed] }])

  expect(stdout).toBe('1 passed, 1 failed\n')
  expect(code).toBe(1)
})

test('fails when a test was skipped, and says which', async () => {
  const { code, stdout, stderr } = await summarize([
    { status: 'passed', assertionResults: [passed, skipped] },
  ])

  expect(stdout).toBe('1 passed, 0 failed\n')
  expect(stderr).toContain('skipped: stores it on Redis')
  expect(code).toBe(1)
})

test('fails when a file could not be run', async () => {
  const { code, stderr } = await summarize([
    { status: 'passed', assertionResults: [passed] },
    { status: 'failed', assertionResults: [] },
  ])

  expect(stderr).toContain('not run: ')
  expect(code).toBe(1)
})

test('fails when there are no results', async () => {
  const { code, stdout, stderr } = await summarize(undefined)

  expect(stdout).toBe('0 passed, 0 failed\n')
  expect(stderr).toContain('no test has run')
  expect(code).toBe(1)
})

async function summarize(files: { status: string; assertionResults: unknown[] }[] | undefined) {
  const directory = createTempDirectory()
  const script = path.join(directory, 'scripts/test-summary.js')
  cpSync(path.join(PROJECT, 'scripts/test-summary.js'), script)
  writeFileSync(path.join(directory, 'package.json'), '{ "type": "module" }')
  if (files) {
    const testResults = files.map((file, index) => ({ name: `${directory}/test/${index}.test.ts`, ...file }))
    mkdirSync(path.join(directory, '.vitest'))
    writeFileSync(path.join(directory, '.vitest/results.json'), JSON.stringify({ testResults }))
  }
  const summary = startProcess(process.execPath, [script], { cwd: directory })
  const { code } = await summary.ended
  return { code, stdout: summary.stdout, stderr: summary.stderr }
}
