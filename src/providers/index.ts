/** Every provider, by name: a third one is a folder and a line in each of these. */
import type { ProviderName } from '../core/event.ts'
import { normalizeMeta } from './meta/normalize.ts'
import { createMetaProvider } from './meta/provider.ts'
import { reparseMeta } from './meta/reparse.ts'
import { createMetaSender } from './meta/send.ts'
import type { Normalize, Provider, Reparse } from './provider.ts'
import type { Sender } from './sender.ts'
import { readBusinessNumber } from './twilio/address.ts'
import { normalizeTwilio } from './twilio/normalize.ts'
import { reparseTwilio } from './twilio/parse.ts'
import { createTwilioProvider } from './twilio/provider.ts'
import { createTwilioSender } from './twilio/send.ts'
import { refuseTwilioUpload } from './twilio/upload-rules.ts'

export type ProviderSettings = {
  meta: Parameters<typeof createMetaProvider>[0]
  twilio: Parameters<typeof createTwilioProvider>[0]
}

export function createProviders(settings: ProviderSettings): Record<ProviderName, Provider> {
  return {
    meta: createMetaProvider(settings.meta),
    twilio: createTwilioProvider(settings.twilio),
  }
}

const NORMALIZERS: Record<ProviderName, Normalize> = {
  meta: normalizeMeta,
  twilio: normalizeTwilio,
}

/** What is stored of an event; see `Normalize`. */
export const normalize: Normalize = (event) => NORMALIZERS[event.provider](event)

const REPARSERS: Record<ProviderName, Reparse> = {
  meta: reparseMeta,
  twilio: reparseTwilio,
}

/** The jobs that an event makes today; see `Reparse`. */
export const reparse: Reparse = (event) => REPARSERS[event.provider](event)

export type Senders = Partial<Record<ProviderName, Sender>>

export type SenderSettings = {
  meta: { accessToken?: string | undefined; graphUrl: string }
  twilio: {
    accountSid?: string | undefined
    /** Sending uses the first. */
    authTokens: readonly string[]
    apiUrl: string
  }
  publicUrl?: string | undefined
}

/** A sender for each provider whose credentials are there. */
export function createSenders({ meta, twilio, publicUrl }: SenderSettings): Senders {
  const { accountSid, apiUrl } = twilio
  const [authToken] = twilio.authTokens
  const { accessToken, graphUrl } = meta
  return {
    ...(accessToken === undefined ? {} : { meta: createMetaSender({ accessToken, graphUrl }) }),
    ...(accountSid === undefined || authToken === undefined
      ? {}
      : { twilio: createTwilioSender({ accountSid, authToken, apiUrl, publicUrl }) }),
  }
}

/** Why a provider would not take a file of this size that was uploaded here. */
export function refuseUpload(
  provider: ProviderName,
  upload: { size_bytes: number },
  publicUrl: string | undefined,
): ReturnType<typeof refuseTwilioUpload> {
  return provider === 'twilio' ? refuseTwilioUpload(upload, publicUrl) : undefined
}

/** Our number at each provider where a message begins a conversation, as `conversations.business_number` has it. */
export function defaultNumbers(settings: {
  meta: { phoneNumberId?: string | undefined }
  twilio: { from?: string | undefined }
}): Partial<Record<ProviderName, string>> {
  const { phoneNumberId } = settings.meta
  const { from } = settings.twilio
  return {
    ...(phoneNumberId === undefined ? {} : { meta: phoneNumberId }),
    ...(from === undefined ? {} : { twilio: readBusinessNumber(from) }),
  }
}
