/** The real command on an invented project, whose tests miss one mutant; without the servers that ours need. */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { PROJECT, startProcess } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const COMMAND = path.join(PROJECT, 'mutate', 'main.ts')

const FILES = {
  'package.json': '{ "name": "invented", "type": "module" }',
  'vitest.config.ts': "export default { test: { include: ['test/**/*.test.ts'], pool: 'forks' } }\n",
  'tsconfig.json': '{ "compilerOptions": { "strict": true, "noEmit": true, "types": [] } }',
  // The type checker refuses another text in place of 'letters', which the test would not notice.
  'src/limit.ts': `
export const isTooLong = (text: string, _unit: 'letters' = 'letters'): boolean => text.length > 10
`,
  'src/unit.ts': "export type Unit = 'letters'\n",
  'test/limit.test.ts': `
import { expect, test } from 'vitest'
import { isTooLong } from '../src/limit.ts'

test('20 characters are too long and 2 are not', () => {
  expect(isTooLong('x'.repeat(20))).toBe(true)
  expect(isTooLong('ok')).toBe(false)
})
`,
}

describe('npm run mutate', () => {
  test('lists the mutant that no test notices, and ends with 1 below the threshold', async () => {
    const project = createProject()
    const result = path.join(project, 'result.json')

    const run = mutate(project, ['src', '--json', result])
    const { code } = await run.ended

    expect(run.stdout).toContain('src/unit.ts has only types: skipped\n')
    expect(run.stdout).toContain('src/limit.ts:2:83\n')
    expect(run.stdout).toContain('\n  change  text.length > 10 → text.length >= 10\n')
    expect(run.stdout).toMatch(/^src\/limit\.ts +5 +4 +0 +80\.0 % ✗ +\d+ s$/m)
    expect(code).toBe(1)
    expect(JSON.parse(readFileSync(result, 'utf8'))).toMatchObject({
      scores: [{ file: 'src/limit.ts', mutants: 5, noticed: 4 }],
      survivors: [{ line: 2, change: 'text.length > 10 → text.length >= 10', isReached: true }],
    })
    expect(readdirSync(path.join(project, '.vitest'))).toEqual([])
  })

  test('asks for the tests of a file that has none', async () => {
    const project = createProject()
    writeFileSync(path.join(project, 'src/untested.ts'), 'export const zero = 0\n')

    const run = mutate(project, ['src/untested.ts'])

    expect((await run.ended).code).toBe(2)
    expect(run.stderr).toContain('no test for src/untested.ts: name some with --tests')
  })
})

function createProject(): string {
  const project = createTempDirectory()
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(path.dirname(path.join(project, name)), { recursive: true })
    writeFileSync(path.join(project, name), text)
  }
  symlinkSync(path.join(PROJECT, 'node_modules'), path.join(project, 'node_modules'))
  return project
}

function mutate(cwd: string, args: readonly string[]) {
  return startProcess(process.execPath, [COMMAND, ...args], { cwd })
}
