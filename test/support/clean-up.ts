/** Closes at the end of a test everything that the test has opened. */
import { onTestFinished } from 'vitest'

type Release = () => unknown

const atEndOfFile: Release[] = []

/**
 * Runs at the end of the current test; outside of a test (in beforeAll, say), at the end of the file. Last in, first
 * out.
 */
export function cleanUp(release: Release): void {
  try {
    onTestFinished(async () => {
      await release()
    })
  } catch {
    atEndOfFile.push(release)
  }
}

/** Runs at the end of the file, even if a test calls this. */
export function cleanUpAtEndOfFile(release: Release): void {
  atEndOfFile.push(release)
}

/** For the setup file alone. */
export async function releaseEverything(): Promise<void> {
  for (let release = atEndOfFile.pop(); release; release = atEndOfFile.pop()) await release()
}
