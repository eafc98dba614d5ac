import { expect, test } from 'vitest'
import { createStream } from '../../chaos/load/stream.ts'

const take = (seed: number, count = 200) => {
  const stream = createStream({ seed, run: '0000abcd' })
  return Array.from({ length: count }, (_, number) => stream.webhook(number))
}

test('the same seed sends the same bytes, another seed others', () => {
  expect(take(1)).toEqual(take(1))
  expect(take(2)).not.toEqual(take(1))
})

test('every event is sent in one webhook only, and some statuses come before their message', () => {
  const events = take(3).flatMap(({ events }) => events)
  const keys = events.map((event) => JSON.stringify(event))
  const isEarly = events.some(
    ({ kind, wa_message_id }, index) =>
      kind === 'status' &&
      events.slice(index).some((later) => later.kind === 'echo' && later.wa_message_id === wa_message_id),
  )

  expect(new Set(keys).size).toBe(keys.length)
  expect(isEarly).toBe(true)
})

test('a webhook can be made again after others', () => {
  const stream = createStream({ seed: 4, run: '0000abcd' })
  const first = stream.webhook(0)
  stream.webhook(500)

  expect(stream.webhook(0)).toEqual(first)
})
