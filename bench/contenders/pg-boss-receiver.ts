/** `pg-boss`, receiver: `send` for a message, `insert` for several. */
import { PgBoss } from 'pg-boss'
import { createWebhookApp, serve } from './app-webhook.ts'

const QUEUE = 'messages'

const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, useListenNotify: true })
boss.on('error', () => {})
await boss.start()
await boss.createQueue(QUEUE, { notify: true })

const app = createWebhookApp(async (events) => {
  const [only] = events
  if (only !== undefined && events.length === 1) await boss.send(QUEUE, only)
  else
    await boss.insert(
      QUEUE,
      events.map((data) => ({ data })),
    )
})
serve(app, () => boss.stop())
