import { PassThrough } from 'node:stream'
import { createLogger, type Logger } from '../../src/logger/logger.ts'

/** The real logger, and what it has printed so far. */
export function captureLog(): { log: Logger; lines: () => Record<string, unknown>[] } {
  const stream = new PassThrough()
  let text = ''
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  return {
    log: createLogger({ level: 'info', process: 'test', stream }),
    lines: () =>
      text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line)),
  }
}
