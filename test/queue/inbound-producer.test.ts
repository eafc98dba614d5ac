import { expect, test } from 'vitest'
import { EVENT_VERSION, type InboundJob } from '../../src/core/event.ts'
import { createInboundProducer } from '../../src/queue/inbound-producer.ts'

const MORE_THAN_TWO_ROUND_TRIPS = 2_000

test('rejects all waiting events after one deadline when the queue does not answer', async () => {
  const timeoutMs = 50
  let roundTrips = 0
  const producer = createInboundProducer({
    addInbound: () => {
      roundTrips++
      return new Promise(() => {})
    },
    timeoutMs,
  })

  const added = await Promise.allSettled(jobs(MORE_THAN_TWO_ROUND_TRIPS).map((job) => producer.add([job])))

  expect(added.every(({ status }) => status === 'rejected')).toBe(true)
  expect(roundTrips).toBe(2)
  expect(producer.pending()).toBe(0)
})

test('rejects a webhook when one of its round trips fails, although another one succeeds', async () => {
  let roundTrips = 0
  const producer = createInboundProducer({
    addInbound: async () => {
      if (++roundTrips === 2) throw new Error('refused')
      return { dropped: Promise.resolve(0) }
    },
  })

  await expect(producer.add(jobs(300))).rejects.toThrow('refused')
  expect(roundTrips).toBe(2)
})

test('a round trip that fails leaves the waiting events alone', async () => {
  let roundTrips = 0
  const producer = createInboundProducer({
    addInbound: async () => {
      if (roundTrips++ === 0) throw new Error('refused')
      return { dropped: Promise.resolve(0) }
    },
  })

  const added = await Promise.allSettled(jobs(MORE_THAN_TWO_ROUND_TRIPS).map((job) => producer.add([job])))

  expect(added.filter(({ status }) => status === 'rejected')).toHaveLength(256)
})

function jobs(count: number): InboundJob[] {
  return Array.from({ length: count }, (_, number) => ({
    job_id: `wamid.${number}`,
    event: { v: EVENT_VERSION, provider: 'meta', kind: 'message', received_at: 0, payload: '{}' },
  }))
}
