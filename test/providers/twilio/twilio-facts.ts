/** What a form becomes, for tests that read like the specification of its fields. */
import type { WebhookEvent } from '../../../src/core/event.ts'
import type { MessageFact, StatusFact } from '../../../src/core/fact.ts'
import { normalizeTwilio } from '../../../src/providers/twilio/normalize.ts'
import { parseTwilioWebhook } from '../../../src/providers/twilio/parse.ts'
import { type TwilioForm, type TwilioRequest, twilioWebhook } from '../../support/twilio-webhooks.ts'

export function message(form: TwilioForm): MessageFact {
  const fact = normalizeTwilio(eventOf(form))
  if (fact.kind !== 'message') throw new Error(`no message but ${JSON.stringify(fact)}`)
  return fact
}

export function status(form: TwilioForm): StatusFact {
  const fact = normalizeTwilio(eventOf(form))
  if (fact.kind !== 'status') throw new Error(`no status but ${JSON.stringify(fact)}`)
  return fact
}

export function eventOf(form: TwilioForm, request: TwilioRequest = {}): WebhookEvent {
  return only(parseTwilioWebhook(twilioWebhook(form, request)))
}

function only(jobs: readonly { event: WebhookEvent }[]): WebhookEvent {
  const [job, ...others] = jobs
  if (job === undefined || others.length > 0) throw new Error(`${jobs.length} events`)
  return job.event
}
