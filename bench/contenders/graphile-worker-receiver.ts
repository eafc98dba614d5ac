/** `graphile-worker`, receiver: `addJob` for a message, `addJobs` for several. */
import { makeWorkerUtils } from 'graphile-worker'
import { createWebhookApp, serve } from './app-webhook.ts'

const TASK = 'store_event'

const utils = await makeWorkerUtils({ connectionString: process.env.DATABASE_URL })
await utils.migrate()

const app = createWebhookApp(async (events) => {
  const [only] = events
  if (only !== undefined && events.length === 1) await utils.addJob(TASK, only)
  else await utils.addJobs(events.map((payload) => ({ identifier: TASK, payload })))
})
serve(app, () => utils.release())
