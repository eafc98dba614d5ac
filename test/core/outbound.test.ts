import { expect, test } from 'vitest'
import { OUTBOUND_MEDIA_TYPES } from '../../src/core/outbound.ts'

/** They are words of the API and of `chat_messages.message_type`, and both providers know exactly these. */
test('five types of messages carry a file', () => {
  expect(OUTBOUND_MEDIA_TYPES).toEqual(['image', 'video', 'audio', 'document', 'sticker'])
})
