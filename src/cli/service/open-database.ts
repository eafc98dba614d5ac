/** Opens the database of a service process: the one in DATABASE_URL, or the embedded one in DATA_DIR. */
import type { Config } from '../../config/config-groups.ts'
import { startEmbeddedPostgres } from '../../local/embedded-postgres.ts'
import type { Logger } from '../../logger/logger.ts'

export type ServiceDatabase = {
  url: string
  /** For migrations and LISTEN, past a pooler. */
  directUrl: string
  /** `url` leads through a pooler, which refuses time-outs as start-up parameters. */
  isPooled: boolean
  /** Stops the embedded server when this process has started it. */
  stop(): Promise<void>
}

/** @throws Error with one line when the embedded PostgreSQL cannot be started. */
export async function openServiceDatabase(config: Config, log: Logger): Promise<ServiceDatabase> {
  const { url, directUrl } = config.database
  if (url !== undefined) {
    const isPooled = directUrl !== undefined && directUrl !== url
    return { url, directUrl: directUrl ?? url, isPooled, stop: async () => {} }
  }
  const embedded = await startEmbeddedPostgres({
    dataDir: config.dataDir,
    onLog: (line) => log.info({ detail: line }, 'embedded postgresql'),
  })
  return { url: embedded.url, directUrl: embedded.url, isPooled: false, stop: () => embedded.stop() }
}
