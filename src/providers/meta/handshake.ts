/**
 * Meta's handshake, by which it makes sure that the address of a subscription is ours.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/create-webhook-endpoint
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Handshake } from '../provider.ts'

/** The answer is the raw challenge. Without a token, as where Meta is not set up, every request is refused. */
export function metaHandshake(verifyToken: string | undefined): Handshake {
  return {
    answer: ({ 'hub.mode': mode, 'hub.verify_token': token, 'hub.challenge': challenge }) => {
      const isMetas =
        mode === 'subscribe' && typeof token === 'string' && isEqualSecret(token, verifyToken ?? '')
      return isMetas && typeof challenge === 'string' ? challenge : undefined
    },
    refusal: 'The verify token is not the one configured as META_VERIFY_TOKEN.',
  }
}

/** Constant time in the secret. An empty secret would let everybody in. */
function isEqualSecret(received: string, expected: string): boolean {
  if (expected === '') return false
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(received), digest(expected))
}
