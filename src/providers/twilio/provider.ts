import type { Provider } from '../provider.ts'
import { parseTwilioWebhook } from './parse.ts'
import { isSignedByTwilio, type SignatureSettings } from './signature.ts'

export function createTwilioProvider(settings: SignatureSettings): Provider {
  return {
    name: 'twilio',
    isAuthentic: (webhook) => isSignedByTwilio(webhook, settings),
    parse: parseTwilioWebhook,
  }
}
