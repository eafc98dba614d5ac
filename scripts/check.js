/**
 * What CI runs, in the order in which a failure is cheapest to find: format and lint, types, then every test, the
 * architecture among them. Ends at the first step that fails, with its exit code. The results of the tests are also
 * written to .vitest/results.json.
 */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import path from 'node:path'

const ROOT = path.resolve(import.meta.dirname, '..')
const RESULTS = path.join(ROOT, '.vitest', 'results.json')

const STEPS = [
  ['format and lint', 'biome', 'check'],
  ['types', 'tsc', '-p', '.'],
  [
    'architecture and tests',
    'vitest',
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${RESULTS}`,
  ],
]

const startedAt = Date.now()
rmSync(RESULTS, { force: true })
process.exitCode = runSteps()

function runSteps() {
  for (const [name, command, ...args] of STEPS) {
    print(`\n▶ ${name}: ${command} ${args[0]}`)
    const stepStartedAt = Date.now()
    const { status, signal, error } = spawnSync(path.join(ROOT, 'node_modules', '.bin', command), args, {
      cwd: ROOT,
      stdio: 'inherit',
    })
    if (status !== 0) {
      print(
        `✗ ${name} failed (${error?.message ?? signal ?? `exit code ${status}`}) after ${secondsSince(startedAt)}`,
      )
      return status || 1
    }
    print(`✓ ${name} in ${secondsSince(stepStartedAt)}`)
  }
  print(`\n✓ check passed in ${secondsSince(startedAt)}`)
  return 0
}

function secondsSince(start) {
  return `${((Date.now() - start) / 1000).toFixed(1)} s`
}

function print(line) {
  process.stdout.write(`${line}\n`)
}
