/** `wa-ingest start`: everything in one process, for a first look and for small installations. */
import { loadConfig } from '../config/load-config.ts'
import { createLogger } from '../logger/logger.ts'
import type { Command } from './command.ts'
import { writeLine } from './command.ts'
import { runService } from './service/run-service.ts'
import { welcome } from './service/welcome.ts'

export const command: Command = {
  name: 'start',
  summary: 'run receiver, worker and dashboard in one process',
  usage: `
wa-ingest start runs the receiver, a worker, the JSON API, the dashboard and Bull Board in one process until Ctrl-C.

Without DATABASE_URL it brings its own PostgreSQL and keeps the data in DATA_DIR (.data); without REDIS_URL the
queue is in PostgreSQL too. The database is migrated first. Missing secrets are generated on the first start and
kept in DATA_DIR, unless others can reach the service: NODE_ENV is production, HOST or PUBLIC_URL is not loopback, or
TRUST_PROXY names a proxy. Then they must be set.

Usage: npx wa-ingest start

  -h, --help  this text

Every environment variable: docs/configuration.md.`,
  options: {},
  run: async ({ env, stdout, stderr, signal }) => {
    const config = loadConfig(env)
    const log = createLogger({
      level: config.logLevel,
      process: 'start',
      stream: stderr as NodeJS.WriteStream,
    })
    return runService({
      config,
      log,
      signal,
      parts: ['receiver', 'worker'],
      database: 'migrate',
      onReady: ({ receiver }) => {
        for (const line of welcome(config, receiver?.port, receiver?.adminPort)) writeLine(stdout, line)
      },
    })
  },
}
