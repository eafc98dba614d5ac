import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { cleanUp } from './clean-up.ts'

/** An empty directory, removed with its content when the test (or the file) is over. Every user may enter: PostgreSQL does not run as root. */
export function createTempDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), `wa-ingest-test-file-${process.pid}-`))
  chmodSync(directory, 0o755)
  cleanUp(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  return directory
}
