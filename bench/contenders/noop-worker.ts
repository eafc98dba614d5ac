/** `bullmq-noop`, worker: BullMQ's own, and jobs in which nothing is done. Says at its end how many. */
import { loadConfig } from '../../src/config/load-config.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'

const config = loadConfig(process.env, { needsSecrets: false })
if (config.redis === undefined) throw new Error('REDIS_URL is not set')
const backend = openRedisBackend({ redis: config.redis, onError: () => {} })
let done = 0
const worker = backend.createWorker(
  'inbound',
  async () => {
    done++
  },
  { concurrency: config.worker.concurrency },
)
void worker.run()
await backend.ready()
process.once('SIGTERM', () => {
  process.stdout.write(`done ${done}\n`)
  void backend.close()
})
process.stdout.write('ready\n')
