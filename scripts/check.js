/**
 * What CI runs, in the order in which a failure is cheapest to find: format and lint, types, known vulnerabilities, then
 * every test, the architecture among them. Ends with 1 at the first step that fails. The results of the tests also go to
 * .vitest/results.json.
 */
import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import path from 'node:path'

const ROOT = path.resolve(import.meta.dirname, '..')
const RESULTS = path.join(ROOT, '.vitest', 'results.json')

const STEPS = [
  ['format and lint', 'biome', 'check'],
  ['types', 'tsc', '-p', '.'],
  ['known vulnerabilities', process.execPath, 'scripts/audit.js'],
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
process.exitCode = await runSteps()

async function runSteps() {
  for (const [name, command, ...args] of STEPS) {
    print(`\n▶ ${name}: ${path.basename(command)} ${args[0]}`)
    const stepStartedAt = Date.now()
    const failure = await run(path.resolve(ROOT, 'node_modules', '.bin', command), args)
    if (failure) {
      print(`✗ ${name} failed (${failure}) after ${secondsSince(startedAt)}`)
      return 1
    }
    print(`✓ ${name} in ${secondsSince(stepStartedAt)}`)
  }
  print(`\n✓ check passed in ${secondsSince(startedAt)}`)
  return 0
}

/** What went wrong; undefined where nothing did. A signal to us ends the step, and with it the check. */
function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: 'inherit' })
    const forward = (signal) => child.kill(signal)
    const signals = ['SIGINT', 'SIGTERM']
    for (const signal of signals) process.on(signal, forward)
    child.on('error', (err) => resolve(err.message))
    child.on('close', (code, signal) => {
      for (const name of signals) process.off(name, forward)
      resolve(code === 0 ? undefined : (signal ?? `exit code ${code}`))
    })
  })
}

function secondsSince(start) {
  return `${((Date.now() - start) / 1000).toFixed(1)} s`
}

function print(line) {
  process.stdout.write(`${line}\n`)
}
