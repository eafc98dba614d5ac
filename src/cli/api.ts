/** `wa-ingest api`: one of the two processes of a production set-up. */
import { loadConfig } from '../config/load-config.ts'
import { createLogger } from '../logger/logger.ts'
import type { Command } from './command.ts'
import { runService } from './service/run-service.ts'

export const command: Command = {
  name: 'api',
  summary: 'run the receiver, the JSON API, the dashboard and Bull Board',
  usage: `
wa-ingest api receives webhooks and puts them on the queue, or into the database while the queue cannot take them. It
serves the JSON API, the dashboard, Bull Board, health and metrics. It stores nothing from the queue and sends nothing:
that takes a worker (npx wa-ingest worker).

Runs until SIGTERM or Ctrl-C, and logs JSON lines to stdout. The database must have been migrated:
npx wa-ingest migrate.

Usage: npx wa-ingest api

  -h, --help  this text

Every environment variable: docs/configuration.md.`,
  options: {},
  run: async ({ env, signal }) => {
    const config = loadConfig(env)
    const log = createLogger({ level: config.logLevel, process: 'api' })
    return runService({ config, log, signal, parts: ['receiver'], database: 'check' })
  },
}
