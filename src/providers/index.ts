/** The registry: the list of providers, and functions over all of them. */
import type { InboundJob, ProviderName, WebhookEvent } from '../core/event.ts'
import { contentJobId } from '../core/job-id.ts'
import type { ChoosesNumber } from '../core/outbound.ts'
import { meta } from './meta/definition.ts'
import type { Normalize, Provider, ProviderTraits, Reparse } from './provider.ts'
import type { Sender } from './sender.ts'
import { twilio } from './twilio/definition.ts'

/** One line for each. Where nothing says which one is meant, it is the first that can do it. */
export const PROVIDERS = [
  meta, //
  twilio,
] as const

export const PROVIDER_NAMES: readonly ProviderName[] = PROVIDERS.map(({ name }) => name)

/** By the event's provider. An event of a provider that is not in the list is parked. */
export function createNormalize(providers: readonly ProviderTraits[]): Normalize {
  const byName = new Map(providers.map(({ name, normalize }) => [name, normalize]))
  return (event) => byName.get(event.provider)?.(event) ?? { kind: 'parked', reason: notKnown(event) }
}

/** By the event's provider. An event of a provider that is not in the list stays parked. */
export function createReparse(providers: readonly ProviderTraits[]): Reparse {
  const byName = new Map(providers.map(({ name, reparse }) => [name, reparse]))
  return (event) => byName.get(event.provider)?.(event) ?? [stillParked(event)]
}

export const normalize = createNormalize(PROVIDERS)
export const reparse = createReparse(PROVIDERS)

/** Fields whose events earlier versions kept whole: see `ProviderTraits`. */
export const keptFields: readonly string[] = PROVIDERS.flatMap((provider) => provider.keptFields ?? [])

/** By the name of the provider. */
export type Senders = Readonly<Record<ProviderName, Sender>>

/** A sender for each provider whose credentials are there. */
export function createSenders(providers: readonly Provider[]): Senders {
  return Object.fromEntries(
    providers.flatMap(({ name, createSender }) => {
      const sender = createSender()
      return sender === undefined ? [] : [[name, sender]]
    }),
  )
}

/**
 * Our number at each provider where a message begins a conversation, as `conversations.business_number` has it; in the
 * order of the list, the first one is used where nothing says which.
 */
export function defaultNumbers(providers: readonly Provider[]): Readonly<Record<ProviderName, string>> {
  return Object.fromEntries(
    providers.flatMap(({ name, defaultNumber }) =>
      defaultNumber === undefined ? [] : [[name, defaultNumber]],
    ),
  )
}

/** See `ProviderTraits.choosesNumber`. */
export function numberRule(providers: readonly ProviderTraits[]): ChoosesNumber {
  const rules = new Map(providers.map(({ name, choosesNumber }) => [name, choosesNumber]))
  return (provider, businessNumber) => rules.get(provider)?.(businessNumber) ?? false
}

/** Whose the first id of a message in a text is, such as the id of a job; without any, the first provider's. */
export type FindMessageId = (text: string) => { provider: ProviderName; wa_message_id?: string }

export function messageIdFinder(providers: readonly ProviderTraits[]): FindMessageId {
  const patterns = providers.map(({ name, messageIds }) => ({ name, pattern: new RegExp(messageIds.plain) }))
  return (text) => {
    for (const { name, pattern } of patterns) {
      const [wa_message_id] = pattern.exec(text) ?? []
      if (wa_message_id !== undefined) return { provider: name, wa_message_id }
    }
    return { provider: patterns[0]?.name ?? '' }
  }
}

/** Which variable a provider cannot send without; undefined: nothing is missing, or there is no such provider. */
export type FindMissingCredential = (provider: ProviderName) => string | undefined

export function missingCredentials(providers: readonly Provider[]): FindMissingCredential {
  return (provider) => {
    const { sendingCredentials = [], values = {} } = providers.find(({ name }) => name === provider) ?? {}
    return sendingCredentials.find((name) => values[name] === undefined)
  }
}

/** See `ProviderTraits.otherChannelPath`. */
export function otherChannelPaths(
  providers: readonly ProviderTraits[],
): Readonly<Partial<Record<ProviderName, string>>> {
  return Object.fromEntries(
    providers.flatMap(({ name, otherChannelPath }) =>
      otherChannelPath === undefined ? [] : [[name, otherChannelPath]],
    ),
  )
}

/** The longest text of each provider that takes shorter ones than WhatsApp, in characters. */
export function maxTextLengths(
  providers: readonly ProviderTraits[],
): Readonly<Partial<Record<ProviderName, number>>> {
  return Object.fromEntries(
    providers.flatMap(({ name, maxTextLength }) =>
      maxTextLength === undefined ? [] : [[name, maxTextLength]],
    ),
  )
}

export type UploadRefusal = 'no_public_url' | 'upload_too_large'

/** Returns a function that says why a provider would refuse a file uploaded here, or undefined where it would not. */
export function refuseUpload(providers: readonly ProviderTraits[], publicUrl: string | undefined) {
  return (provider: ProviderName, { size_bytes }: { size_bytes: number }): UploadRefusal | undefined => {
    const uploads = providers.find(({ name }) => name === provider)?.uploads
    if (uploads?.isFetched && publicUrl === undefined) return 'no_public_url'
    return size_bytes > (uploads?.maxBytes ?? Number.POSITIVE_INFINITY) ? 'upload_too_large' : undefined
  }
}

function notKnown({ provider }: WebhookEvent): string {
  return `the provider ${provider} is not known`
}

function stillParked(event: WebhookEvent): InboundJob {
  const { provider, kind, payload } = event
  return { job_id: contentJobId([provider, kind, payload]), event: { ...event, park: notKnown(event) } }
}
