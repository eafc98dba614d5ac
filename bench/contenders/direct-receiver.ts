/** `direct`: no queue; the handler stores and then answers. */
import { createAppPool } from './app-pool.ts'
import { storeWebhook } from './app-store.ts'
import { createWebhookApp, serve } from './app-webhook.ts'

const pool = createAppPool()
serve(
  createWebhookApp((events) => storeWebhook(pool, events)),
  () => pool.end(),
)
