/**
 * A WhatsApp provider as the rest of the service sees it. A provider is a folder beside this file that exports a definition,
 * and a line in index.ts.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { InboundJob, ProviderName, WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'
import type { ValuesOf, VariableShape } from '../variables/variable.ts'
import type { Sender } from './sender.ts'

export type IncomingWebhook = {
  rawBody: Buffer
  headers: IncomingHttpHeaders
  /** Path and query as received, e.g. `/webhooks/twilio?foo=1`. */
  url: string
  /** Milliseconds since 1970. */
  received_at: number
}

/** The part of a provider that does not depend on its variables. */
export type ProviderTraits = {
  /** In routes, rows and metrics: a word in lower case. */
  name: ProviderName
  /** The name as people write it. */
  label: string
  normalize: Normalize
  reparse: Reparse
  /** Fields (`WebhookEvent.field`) whose events earlier versions kept whole. `reprocess` reads them again. */
  keptFields?: readonly string[]
  /** The answer (200) to a webhook that is on disk. */
  acknowledgement: Acknowledgement
  messageIds: MessageIds
  /** Whether senders have `markRead`. */
  hasReadReceipts: boolean
  /** Present where senders have `history`. The hint says where a person finds the credentials. */
  history?: { credentialsHint: string }
  /** The longest text that it takes, in characters (core/message-limits.ts). Absent: what WhatsApp takes. */
  maxTextLength?: number
  /** Files that users have uploaded here. */
  uploads: UploadTraits
  /**
   * SQL/JSON path predicate: whether a stored payload is of another channel than WhatsApp, such as SMS. Absent where the
   * provider's webhooks are WhatsApp's alone. Such webhooks are events of kind `other`; earlier versions stored messages.
   */
  otherChannelPath?: string
  /** Whether this business number is a service of the provider that chooses the number for each message. Absent: none is. */
  choosesNumber?: (businessNumber: string) => boolean
}

export type Acknowledgement = { headers: Readonly<Record<string, string>>; body?: string }

/** Regular expressions that JavaScript and PostgreSQL read alike, for the provider's ids of messages. */
export type MessageIds = {
  /** Matches every id of this provider, and no id of another one. */
  own: string
  /** Matches an id with harmless characters alone, also in the middle of a job id. */
  plain: string
}

export type UploadTraits = {
  /** The provider fetches files at PUBLIC_URL when it sends; else the worker copies them to the provider before (`Sender.upload`). */
  isFetched: boolean
  /** Absent: whatever may be uploaded (core/upload.ts). */
  maxBytes?: number
}

/** The part of a provider that depends on the values of its variables. */
export type ProviderSetup = {
  /** Whether the provider signed this webhook. Constant time in the secrets; never throws. */
  isAuthentic(webhook: IncomingWebhook): boolean
  /**
   * Every item of the webhook as one event, each under its job id; nothing of the body is left out. Never throws: a body
   * that cannot be read becomes one event of kind `unreadable`, an item that cannot be stored as what it claims to be
   * carries `park`. The job ids of one webhook may repeat where the webhook repeats itself.
   */
  parse(webhook: IncomingWebhook): InboundJob[]
  /** Answers GET on the address of the webhooks. Absent: the provider does not verify addresses. */
  handshake?: Handshake
  /** Whether this provider was given this link to an upload. Present where uploads are fetched. */
  isUploadLink?: (link: UploadLink) => boolean
  /** `conversations.business_number` of conversations that begin here. Absent: none can. */
  defaultNumber?: string | undefined
  /** Undefined where credentials are missing. */
  createSender(): Sender | undefined
  /** How often a worker reads `Sender.history`, in minutes; 0 or absent: never. */
  backfillMinutes?: number
}

export type Handshake = {
  /** The body to answer with, or undefined where the request is not the provider's. */
  answer(query: Readonly<Record<string, unknown>>): string | undefined
  /** One sentence for the client that is refused. */
  refusal: string
}

/** The two parts of a link's path after UPLOAD_LINK_PATH. */
export type UploadLink = { uploadId: string; ticket: string }

/** The name of one of its variables. */
type NameIn<Shape> = Extract<keyof Shape, string>

/**
 * What a provider's folder exports; everything else follows from it. What a definition promises is in
 * test/contract/provider.contract.ts.
 */
export type ProviderDefinition<Shape extends VariableShape = VariableShape> = ProviderTraits & {
  /** Environment variables, each with the provider's name in front. */
  variables: Shape
  /** Variables that are of no use without another one. */
  pairs: readonly (readonly [name: NameIn<Shape>, needed: NameIn<Shape>])[]
  /** The secret that proves that a webhook is the provider's. */
  signingSecret: NameIn<Shape>
  /** The provider is in use where one of these is set. */
  usedWith: readonly NameIn<Shape>[]
  /**
   * What must be set where others can reach a service that uses this provider. The reason completes
   * "META_APP_SECRET is missing: NODE_ENV is production, …".
   */
  needed: readonly (readonly [name: NameIn<Shape> | 'PUBLIC_URL', reason: string])[]
  /** Without all of these nothing can be sent. */
  sendingCredentials: readonly NameIn<Shape>[]
  /** The variable with the number that a conversation begins from. */
  defaultNumberVariable: NameIn<Shape>
  /** Pure: opens no connection and reads no file. */
  configure(values: ValuesOf<Shape>, service: ServiceAddress): ProviderSetup
}

export type ServiceAddress = {
  /** Where the provider reaches this service, without a final slash; undefined where that is not known. */
  publicUrl?: string | undefined
  /** Whether `X-Forwarded-*` headers come from a proxy of ours. */
  trustProxy?: boolean | undefined
}

/** A definition with the values of its variables. The rest of the service works with this. */
export type Provider = ProviderDefinition &
  ProviderSetup & {
    /** By the names of the variables. */
    values: Readonly<Record<string, unknown>>
  }

/**
 * Parses a parked event again, for a release that understands more: a whole body that `parse` could not read, or one item.
 * Ignores `park`. Pure and without configuration. Never throws, and returns one job at least: an event that still cannot be
 * understood comes back with `park`.
 */
export type Reparse = (event: WebhookEvent) => InboundJob[]

/**
 * The fact in an event. Pure and without configuration, so that `reprocess` derives the same fact from a stored event. Never
 * throws: an event that it cannot understand is `{ kind: 'parked', reason }`, and so is every event that carries `park`.
 *
 * A message whose sender is unknown has the contact `{}`: it belongs to the anonymous contact of its business number, so that
 * it is a row like every other.
 */
export type Normalize = (event: WebhookEvent) => Fact
