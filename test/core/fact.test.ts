import { expect, test } from 'vitest'
import { detailOf, EFFECT_TYPES, type MessageSource } from '../../src/core/fact.ts'

/** Stored as `chat_messages.detail`: rows of one release are compared with the copies that another one reads. */
test.each<[MessageSource, placeholder: number, content: number]>([
  ['backfill', 1, 11],
  ['history', 2, 12],
  ['standby', 2, 12],
  ['echo', 3, 13],
  ['webhook', 4, 14],
  ['api', 5, 15],
])('ranks a copy from %s as %d without its content, and as %d with it', (source, placeholder, content) => {
  expect([detailOf(source, true), detailOf(source, false)]).toEqual([placeholder, content])
})

test('three types of messages act on another one', () => {
  expect(EFFECT_TYPES).toEqual(['reaction', 'edit', 'revoke'])
})
