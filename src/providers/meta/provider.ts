/** Meta's Cloud API as a provider of webhooks. */
import type { Provider } from '../provider.ts'
import { parseMetaWebhook } from './parse.ts'
import { isSignedByMeta } from './signature.ts'

/** `appSecrets`: those of every app that delivers here, and both sides of a rotation. */
export function createMetaProvider({ appSecrets }: { appSecrets: readonly string[] }): Provider {
  return {
    name: 'meta',
    isAuthentic: ({ rawBody, headers }) =>
      isSignedByMeta(rawBody, headers['x-hub-signature-256'], appSecrets),
    parse: ({ rawBody, received_at }) => parseMetaWebhook(rawBody, received_at),
  }
}
