/** Which tests run against the mutants of a source file. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** Tests that cover a file without importing it, or under another name. Paths below test/. */
const MORE_TESTS: Record<string, readonly string[]> = {
  'src/api/json-body.ts': ['api/api-router', 'api/problem'],
  'src/providers/twilio/signature.ts': ['providers/twilio/signature-peer'],
}

/**
 * They start processes that load the source by themselves: no mutant is switched on there, so these tests cost minutes
 * and notice nothing.
 */
const STARTS_PROCESSES = /^test\/(?:e2e|cli|browser|bench|chaos|local|scripts|mutate)\//

/** What everything else is built on. Its own tests have to notice: nearly every test of the project reaches it. */
const CORE = 'src/core/'

/** Test files, those first that are most likely to notice a mutant; a run stops at the first that fails. */
export function testsFor(sourceFile: string): string[] {
  const base = sourceFile.replace(/^src\//, 'test/').replace(/\.ts$/, '')
  const namesakes = [`${base}.test.ts`, ...globSync(`${base}-*.test.ts`).sort()]
  const named = (MORE_TESTS[sourceFile] ?? []).map((name) => `test/${name}.test.ts`)
  const importing = globSync('test/**/*.test.ts')
    .filter((file) => !STARTS_PROCESSES.test(file))
    .filter((file) => !sourceFile.startsWith(CORE) || file.startsWith('test/core/'))
    .filter((file) => importsOf(file).includes(sourceFile))
    .sort()
  return [...new Set([...namesakes, ...named, ...importing])].filter((file) => existsSync(file))
}

/** Whether a file has more than types. Declarations begin their lines, as the formatter writes them. */
export function hasCode(sourceFile: string): boolean {
  return /^(?:export )?(?:async )?(?:const|let|function|class) /m.test(readFileSync(sourceFile, 'utf8'))
}

/** What a file imports at run time, from the root of the project. */
function importsOf(file: string): string[] {
  const statements = readFileSync(file, 'utf8').matchAll(/^import\s(?!type\b)[^'"`;]*?['"](\.[^'"]+)['"]/gm)
  return [...statements].map(([, target = '']) => path.join(path.dirname(file), target))
}
