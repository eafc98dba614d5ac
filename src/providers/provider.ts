/**
 * What a WhatsApp provider is to the rest of the service. A provider is a folder beside this file, with
 * `create<Name>Provider(settings)` in `<name>/provider.ts` and `normalize<Name>` in `<name>/normalize.ts`, one line in
 * index.ts, and one line in the contract suite (test/contract/provider.contract.ts).
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { InboundJob, ProviderName, WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'

export type IncomingWebhook = {
  rawBody: Buffer
  headers: IncomingHttpHeaders
  /** Path and query as received, e.g. `/webhooks/twilio?foo=1`. */
  url: string
  /** Milliseconds since 1970. */
  received_at: number
}

export type Provider = {
  name: ProviderName
  /** Whether the provider signed this webhook. Constant time in the secrets; never throws. */
  isAuthentic(webhook: IncomingWebhook): boolean
  /**
   * Every item of the webhook as one event, each under its job id; nothing of the body is left out. Never throws: a body
   * that cannot be read becomes one event of kind `unreadable`, an item that cannot be stored as what it claims to be
   * carries `park`. The job ids of one webhook may repeat where the webhook repeats itself.
   */
  parse(webhook: IncomingWebhook): InboundJob[]
}

/**
 * The jobs that `parse` makes today of what it once kept in this event: of a whole body that it could not read, or of one
 * item. For events that were parked, after a release that understands them; `park` is not looked at. Pure and without
 * configuration. Never throws, and never returns nothing: what still cannot be understood comes back with `park`.
 */
export type Reparse = (event: WebhookEvent) => InboundJob[]

/**
 * What is stored of an event. Pure and without configuration, so that `reprocess` derives the same from what was kept.
 * Never throws: what it cannot understand is `{ kind: 'parked', reason }`, and so is every event that carries `park`.
 *
 * A message whose sender cannot be told has the contact `{}`: it is filed under the one anonymous contact of its
 * business number, so that it is a row like every other.
 */
export type Normalize = (event: WebhookEvent) => Fact
