/** `bullmq-plain`, receiver: BullMQ as its README shows it, one `add` for each message. */
import { Queue } from 'bullmq'
import express from 'express'
import { eventsOf, isSigned, serve } from './app-webhook.ts'

const queue = new Queue('messages', { connection: { url: process.env.REDIS_URL ?? '' } })

const app = express()
app.use(
  express.json({
    limit: '4mb',
    verify: (req, _res, body) => {
      const signature = req.headers['x-hub-signature-256']
      if (!isSigned(body, typeof signature === 'string' ? signature : undefined))
        throw new Error('not signed by Meta')
    },
  }),
)
app.post('/webhooks/meta', async (req, res) => {
  await Promise.all(eventsOf(req.body).map((event) => queue.add(event.kind, event)))
  res.sendStatus(200)
})
serve(app, () => queue.close())
