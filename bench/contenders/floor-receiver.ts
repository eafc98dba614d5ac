/** `floor`: the receiver of wa-ingest, which checks the signature and answers, and does nothing else. */
import { createApp } from '../../src/api/app.ts'
import { startHttpServer } from '../../src/api/http-server.ts'
import { createWebhookListener } from '../../src/api/webhook-listener.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { createLogger } from '../../src/logger/logger.ts'

const config = loadConfig(process.env)
const log = createLogger({ level: 'warn', process: 'floor' })
const webhooks = createWebhookListener({
  providers: config.providers,
  receiveWebhook: async (provider, webhook) => (provider.isAuthentic(webhook) ? 'queued' : 'forged'),
  log,
  next: createApp({ routers: [], log }),
})
const server = await startHttpServer(webhooks, { port: config.http.port, host: config.http.host })
process.once('SIGTERM', () => void server.close(0))
process.stdout.write('ready\n')
