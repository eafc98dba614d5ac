import { expect, test } from 'vitest'
import { detailOf, type MessageSource } from '../../src/core/fact.ts'

test('a copy with more data has a higher rank: content before placeholder, then webhook before back-fill', () => {
  const sources: MessageSource[] = ['backfill', 'history', 'echo', 'webhook', 'api']
  const ranks = [true, false].flatMap((isPlaceholder) =>
    sources.map((source) => detailOf(source, isPlaceholder)),
  )

  expect(ranks.every((rank, index) => index === 0 || rank > Number(ranks[index - 1]))).toBe(true)
})
