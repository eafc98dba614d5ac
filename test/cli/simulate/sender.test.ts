import { describe, expect, test } from 'vitest'
import type { Answer } from '../../../src/cli/simulate/post.ts'
import {
  createPace,
  sendAtPace,
  sendInSlots,
  sendUntilAcknowledged,
} from '../../../src/cli/simulate/sender.ts'
import { createTally } from '../../../src/cli/simulate/tally.ts'

const signal = new AbortController().signal
const RETRIES = { firstPauseMs: 1, longestPauseMs: 2, random: () => 0, signal }

function answering(...answers: Answer[]): () => Promise<Answer> {
  return async () => answers.shift() ?? { status: 200 }
}

describe('a pace', () => {
  test('has evenly spaced moments, also where they have passed', () => {
    const pace = createPace(100)
    const first = pace.next()

    expect(Array.from({ length: 3 }, () => Math.round(pace.next() - first))).toEqual([10, 20, 30])
  })

  test('leaves out moments that passed too long ago', async () => {
    const pace = createPace(1_000, 20)
    const until = performance.now() + 100
    while (performance.now() < until);

    expect(performance.now() - pace.next()).toBeLessThan(50)
  })

  test('sends whether or not earlier requests were answered, until there is nothing left', async () => {
    const moments: number[] = []
    await sendAtPace(createPace(200), signal, (dueAt) => moments.push(dueAt) < 5)

    expect(moments.map((moment) => Math.round(moment - (moments[0] ?? 0)))).toEqual([0, 5, 10, 15, 20])
  })
})

describe('slots', () => {
  test('keep so many requests on their way, and no more', async () => {
    let [left, underWay, most] = [20, 0, 0]
    await sendInSlots(4, () => {
      if (left === 0) return undefined
      left--
      most = Math.max(most, ++underWay)
      return Promise.resolve().then(() => underWay--)
    })

    expect({ left, underWay, most }).toEqual({ left: 0, underWay: 0, most: 4 })
  })

  test('send nothing more after an error, and end with it', async () => {
    let sent = 0
    const sending = sendInSlots(2, async () => {
      sent++
      throw new Error('refused for good')
    })

    await expect(sending).rejects.toThrow('refused for good')
    expect(sent).toBe(2)
  })
})

describe('a webhook', () => {
  test('is sent again until it is answered with 200, and every request is counted', async () => {
    const tally = createTally()
    const post = answering({ status: 503 }, { error: 'ECONNRESET' }, { status: 200 })

    expect(await sendUntilAcknowledged(post, 'redelivery', tally, RETRIES)).toBeTypeOf('number')
    expect(tally.totals()).toMatchObject({
      ...{ sent: 3, redelivered: 1, retried: 2, acknowledged: 1, refused: 2 },
      answers: { '200': 1, '503': 1, ECONNRESET: 1 },
    })
  })

  test('is given up when the caller says so', async () => {
    const tally = createTally()
    const retries = { ...RETRIES, goesOn: () => tally.totals().sent < 2 }

    const sentAt = await sendUntilAcknowledged(async () => ({ status: 503 }), 'first', tally, retries)

    expect([sentAt, tally.totals().sent]).toEqual([undefined, 2])
  })
})

test('a tally has the percentiles of the acknowledgements, and the longest time to any answer', () => {
  const tally = createTally()
  for (let ms = 1; ms <= 100; ms++) tally.record('first', { status: 200 }, ms)
  tally.record('first', { status: 503 }, 500)

  const { ackP50Ms, ackP99Ms, longestAckMs, longestAnswerMs } = tally.totals()
  expect([ackP50Ms, ackP99Ms].map(Math.round)).toEqual([50, 99])
  expect([longestAckMs, longestAnswerMs]).toEqual([100, 500])
})
