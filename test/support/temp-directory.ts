import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { cleanUp, cleanUpAtEndOfFile } from './clean-up.ts'

/**
 * An empty directory, removed with its content when the test (or the file) is over. Every user may enter: PostgreSQL
 * does not run as root.
 */
export function createTempDirectory({ livesWith = 'test' }: { livesWith?: 'test' | 'file' } = {}): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'wa-ingest-test-file-'))
  chmodSync(directory, 0o755)
  const atEnd = livesWith === 'test' ? cleanUp : cleanUpAtEndOfFile
  // An embedded PostgreSQL whose process was killed writes for a moment longer.
  atEnd(() => rmSync(directory, { recursive: true, force: true, maxRetries: 12, retryDelay: 100 }))
  return directory
}
