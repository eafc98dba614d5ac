import { describe, expect, test } from 'vitest'
import { RATE_LIMIT } from '../../src/core/send-policy.ts'
import { type BulkheadTask, createBulkheads, type Slot } from '../../src/worker/bulkheads.ts'
import { eventually } from '../support/eventually.ts'

type Running = { task: BulkheadTask; slot: Slot; end(): void }

/** Bulkheads whose tasks end when the test says so. */
function startBulkheads(options: Partial<Parameters<typeof createBulkheads>[0]> = {}) {
  const running: Running[] = []
  const started: string[] = []
  const bulkheads = createBulkheads<BulkheadTask>({
    perSender: { first: 2, most: 4 },
    perProvider: { first: 3, most: 6 },
    maxWaiting: 100,
    ...options,
    run: async (task, slot) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const entry = { task, slot, end: resolve }
      running.push(entry)
      started.push(task.conversation_id)
      await promise
      running.splice(running.indexOf(entry), 1)
    },
  })
  const offer = (count: number, business_number = '100', provider = 'meta') =>
    Array.from({ length: count }, (_, i) =>
      bulkheads.offer({ conversation_id: `${provider} ${business_number} ${i}`, provider, business_number }),
    )
  const underWay = (business_number: string, provider = 'meta') =>
    running.filter(({ task }) => task.business_number === business_number && task.provider === provider)
  const endAll = async () => {
    while (running.length > 0) {
      for (const { end } of [...running]) end()
      await new Promise(setImmediate)
    }
    await bulkheads.whenIdle()
  }
  return { bulkheads, offer, running, started, underWay, endAll }
}

describe('bulkheads', () => {
  test('a sender that hangs gets few slots, and holds up no other sender or provider', () => {
    const { offer, underWay } = startBulkheads()

    offer(50, 'hangs')
    offer(50, 'hangs too')
    offer(1, 'third')
    offer(1, 'fourth')
    offer(2, '100', 'twilio')

    expect(underWay('hangs')).toHaveLength(2)
    // The provider has three slots; each sender has one in any case.
    expect(['hangs too', 'third', 'fourth'].map((number) => underWay(number).length)).toEqual([1, 1, 1])
    expect(underWay('100', 'twilio')).toHaveLength(2)
  })

  test('the limit of a sender grows with each answer, up to its maximum, and is one after a doubt', async () => {
    const { offer, underWay, started, endAll } = startBulkheads()
    offer(50)
    const slots: number[] = []
    for (let answers = 0; answers < 4; answers++) {
      slots.push(underWay('100').length)
      underWay('100')[0]?.slot.reportAnswer()
    }
    expect(slots).toEqual([2, 3, 4, 4])

    for (const { slot, end } of underWay('100')) {
      slot.reportDoubt()
      end()
      await new Promise(setImmediate)
    }
    expect(underWay('100')).toHaveLength(1)
    underWay('100')[0]?.slot.reportAnswer()
    expect(underWay('100')).toHaveLength(2)
    await endAll()
    // What was in doubt had its turn again.
    expect(started.filter((id) => id === 'meta 100 0')).toHaveLength(2)

    // Nothing was under way: it begins anew.
    offer(50)
    expect(underWay('100')).toHaveLength(2)
  })

  test('the limit of a provider grows with each answer, up to its maximum', () => {
    const { offer, running } = startBulkheads({ perSender: { first: 10, most: 10 } })
    offer(10)
    const slots: number[] = []
    for (let answers = 0; answers < 5; answers++) {
      slots.push(running.length)
      running[0]?.slot.reportAnswer()
    }

    expect(slots).toEqual([3, 4, 5, 6, 6])
  })

  test('freed slots go to the senders in turn', async () => {
    const limits = { perSender: { first: 4, most: 4 }, perProvider: { first: 4, most: 4 } }
    const { offer, started, running, endAll } = startBulkheads(limits)
    offer(20, 'one')
    offer(20, 'two')
    started.length = 0

    for (let ended = 0; ended < 9; ended++) {
      running[0]?.end()
      await new Promise(setImmediate)
    }

    // The first one ended without a successor: the provider had five under way.
    expect(started).toHaveLength(8)
    expect(started.filter((id) => id.startsWith('meta two'))).toHaveLength(4)
    await endAll()
  })

  test('a conversation has one task at a time; one offered meanwhile runs after it, once', async () => {
    const { bulkheads, started, running, endAll } = startBulkheads()
    const task = { conversation_id: '7', provider: 'meta', business_number: '100' }
    for (let i = 0; i < 3; i++) bulkheads.offer(task)
    bulkheads.offer({ ...task, conversation_id: '8' })
    expect(started).toEqual(['7', '8'])

    running[0]?.end()
    await eventually(() => expect(started).toEqual(['7', '8', '7']))
    await endAll()

    expect(started).toEqual(['7', '8', '7'])
  })

  test('know of a conversation while a task of it waits or is under way', async () => {
    const { bulkheads, offer, endAll } = startBulkheads()
    const of = (i: number, business_number = '100') =>
      bulkheads.has({ conversation_id: `meta 100 ${i}`, provider: 'meta', business_number })
    offer(3)

    expect([of(0), of(2), of(3), of(0, '200')]).toEqual([true, true, false, false])
    await endAll()
    expect(of(0)).toBe(false)
  })

  test('a full list drops what is offered, but nothing that waits', async () => {
    const { offer, started, endAll } = startBulkheads({ maxWaiting: 3 })

    expect(offer(7)).toEqual([true, true, true, true, true, false, false])
    // A conversation that waits already needs no room.
    expect(offer(5).slice(2)).toEqual([true, true, true])
    await endAll()

    expect(new Set(started).size).toBe(5)
  })

  test('few wait for the rate limiter; the others are first in the list, and start when one has its token', async () => {
    const limits = { perSender: { first: 10, most: 10 }, perProvider: { first: 10, most: 10 } }
    const { offer, started, running, bulkheads } = startBulkheads(limits)
    offer(12)
    const may = running.map(({ slot }) => slot.mayWaitForToken())
    expect(may.filter(Boolean)).toHaveLength(RATE_LIMIT.maxWaiting)
    // Waiting for longer takes no second place.
    expect(running[0]?.slot.mayWaitForToken()).toBe(true)
    for (const { end } of running.slice(RATE_LIMIT.maxWaiting)) end()
    await eventually(() => expect(running).toHaveLength(RATE_LIMIT.maxWaiting))

    running[0]?.slot.endWaitForToken()
    expect(started.slice(10)).not.toEqual([])
    expect(started.slice(10)).not.toContain('meta 100 10')
    bulkheads.clear()
  })

  test('what waits for one sender can be dropped, or all that waits', async () => {
    const { bulkheads, offer, started, underWay, endAll } = startBulkheads()
    offer(5, 'one')
    offer(5, 'two')
    underWay('one')[0]?.slot.dropWaiting()
    bulkheads.offer({ conversation_id: 'later', provider: 'meta', business_number: 'one' })
    await endAll()
    expect(started.filter((id) => id.startsWith('meta one'))).toHaveLength(2)
    expect(started.filter((id) => id.startsWith('meta two'))).toHaveLength(5)
    expect(started).toContain('later')

    offer(5, 'three')
    bulkheads.clear()
    await endAll()
    expect(started.filter((id) => id.startsWith('meta three'))).toHaveLength(2)
  })
})
