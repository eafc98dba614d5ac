/** `wa-ingest worker`: one of the two processes of a production set-up. */
import { constants, setPriority } from 'node:os'
import { loadConfig } from '../config/load-config.ts'
import { createLogger } from '../logger/logger.ts'
import type { Command } from './command.ts'
import { runService } from './service/run-service.ts'

export const command: Command = {
  name: 'worker',
  summary: 'run a worker: store events, send messages and receipts, sweep, prune, back-fill',
  usage: `
wa-ingest worker does everything that happens after a webhook was acknowledged:

- takes events from the queue and stores them
- sends the messages that POST /api/messages ordered, with their files, and read receipts
- runs failed jobs again, and takes up messages to be sent that the queue was not told of
- asks Twilio what became of a send whose answer was lost, and back-fills from Twilio's list
- removes old changes and uploads

Any number of workers may run at the same time; what only one should do, one of them does. Runs until SIGTERM or
Ctrl-C, and logs JSON lines to stdout. The database must have been migrated: npx wa-ingest migrate. Opens no port.

Usage: npx wa-ingest worker

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
 * Lowers the priority of the worker's process. When receiver and worker share processors that cannot keep up, webhooks are
 * acknowledged first and stored as soon as there is time. With idle processors it changes nothing.
 */
function letReceiverGoFirst(): void {
  try {
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
  } catch {
    // Not every system allows it, and it only affects speed.
  }
}
