import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { cleanUp } from './clean-up.ts'

/** An empty directory, removed with its content when the test (or the file) is over. */
export function createTempDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'wa-ingest-test-'))
  cleanUp(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  return directory
}
