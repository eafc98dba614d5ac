/** Back-fills in this process: a real database, and a fake Twilio over HTTP. */

import { createEventStore } from '../../src/db/ingest/event-store.ts'
import { normalize } from '../../src/providers/index.ts'
import type { MessageHistory } from '../../src/providers/message-history.ts'
import type { Sender } from '../../src/providers/sender.ts'
import { parseTwilioWebhook } from '../../src/providers/twilio/parse.ts'
import { type BackfillOptions, runBackfill } from '../../src/worker/backfill.ts'
import { type FakeTwilio, TWILIO_SENDING_ACCOUNT } from './fake-twilio.ts'
import type { TestDatabase } from './postgres.ts'
import { providerWith } from './providers.ts'
import { TWILIO_AUTH_TOKEN, type TwilioForm, twilioWebhook } from './twilio-webhooks.ts'

export type TwilioClient = { sender: Sender; history: MessageHistory }

export function twilioClient(apiUrl: string): TwilioClient {
  const sender = providerWith('twilio', {
    TWILIO_ACCOUNT_SID: TWILIO_SENDING_ACCOUNT,
    TWILIO_AUTH_TOKEN,
    TWILIO_API_URL: apiUrl,
  }).createSender()
  if (sender?.history === undefined) throw new Error('there is no sender')
  return { sender, history: sender.history }
}

/** The options of a run that are the same in most tests. */
export function backfillOptions({ db }: TestDatabase, twilio: FakeTwilio) {
  return { db, store: createEventStore({ db }), provider: 'twilio', ...twilioClient(twilio.url) } as const
}

export function backFill(database: TestDatabase, twilio: FakeTwilio, options: Partial<BackfillOptions> = {}) {
  return runBackfill({
    ...backfillOptions(database, twilio),
    signal: new AbortController().signal,
    ...options,
  })
}

/** Stores a webhook as the worker does: the event store repeats a batch that met another one. */
export async function deliverTwilio({ db }: TestDatabase, form: TwilioForm, url?: string) {
  const webhook = twilioWebhook(form, { received_at: Date.now(), ...(url === undefined ? {} : { url }) })
  const store = createEventStore({ db })
  const results = await Promise.all(
    parseTwilioWebhook(webhook).map((job) => store.store({ ...job, fact: normalize(job.event) })),
  )
  return results.map(({ outcome }) => outcome)
}
