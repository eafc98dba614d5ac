/** `wa-ingest worker`: one of the two processes of a production set-up. */
import { constants, setPriority } from 'node:os'
import { loadConfig } from '../config.ts'
import { createLogger } from '../logger.ts'
import type { Command } from './command.ts'
import { runService } from './service/run-service.ts'

export const command: Command = {
  name: 'worker',
  summary: 'run a worker',
  usage: `Usage: wa-ingest worker

Takes events from the queue and stores them. Any number of workers may run at the same time.
Runs until SIGTERM or Ctrl-C, and logs JSON lines to stdout. The database must have been migrated: wa-ingest migrate.

Options:
  -h, --help  this text

Every environment variable: docs/configuration.md.`,
  options: {},
  run: async ({ env, signal }) => {
    const config = loadConfig(env, { needsSecrets: false })
    const log = createLogger({ level: config.logLevel, process: 'worker' })
    letReceiverGoFirst()
    return runService({ config, log, signal, parts: ['worker'], database: 'check' })
  },
}

/**
 * Where both share processors that cannot keep up, webhooks are acknowledged first and stored as soon as there is time: that
 * is what the queue is for. Nothing changes where the processors have time.
 */
function letReceiverGoFirst(): void {
  try {
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
  } catch {
    // Not everywhere allowed, and only a matter of speed.
  }
}
