/** A process that owns an embedded PostgreSQL until it is told to stop. Ctrl-C is left to the test. */
import { startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'

const [dataDir = ''] = process.argv.slice(2)
process.on('SIGINT', () => process.stdout.write('interrupted\n'))
try {
  const onLog = (line: string) => process.stdout.write(`${line}\n`)
  const postgres = await startEmbeddedPostgres({ dataDir, onLog })
  process.stdout.write(`ready ${postgres.url}\n`)
  process.once('SIGTERM', async () => {
    await postgres.stop()
    process.exit(0)
  })
} catch (err) {
  process.stderr.write(`${err instanceof Error ? err.message : err}\n`)
  process.exitCode = 1
}
