/**
 * The closing line of CI, `N passed, N failed`, from the results that scripts/check.js has left. Exits with 1 when a test
 * failed or was skipped, when a file could not be run, or when there are no results.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'

const RESULTS = path.resolve(import.meta.dirname, '../.vitest/results.json')

const { passed, failed, problems } = summarize(readResults())
for (const problem of problems) process.stderr.write(`${problem}\n`)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = problems.length > 0 || failed > 0 ? 1 : 0

function readResults() {
  try {
    return JSON.parse(readFileSync(RESULTS, 'utf8'))
  } catch {
    return { testResults: [] }
  }
}

function summarize({ testResults }) {
  const tests = testResults.flatMap((file) =>
    file.assertionResults.map((test) => ({ ...test, file: file.name })),
  )
  const passed = tests.filter(({ status }) => status === 'passed').length
  const failed = tests.filter(({ status }) => status === 'failed').length
  const skipped = tests.filter(({ status }) => status !== 'passed' && status !== 'failed')
  // A file that cannot be imported has no tests to fail.
  const broken = testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  )
  const problems = [
    ...skipped.map((test) => `skipped: ${test.fullName} (${relative(test.file)})`),
    ...broken.map((file) => `not run: ${relative(file.name)}`),
  ]
  if (tests.length === 0) problems.push('no test has run')
  return { passed, failed, problems }
}

function relative(file) {
  return path.relative(process.cwd(), file)
}
