/** Every provider, by name: a third one is a folder and a line in each of these two. */
import type { ProviderName } from '../core/event.ts'
import { normalizeMeta } from './meta/normalize.ts'
import { createMetaProvider } from './meta/provider.ts'
import type { Normalize, Provider } from './provider.ts'
import { normalizeTwilio } from './twilio/normalize.ts'
import { createTwilioProvider } from './twilio/provider.ts'

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
