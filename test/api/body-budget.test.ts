import { describe, expect, test } from 'vitest'
import { createBodyBudget } from '../../src/api/body-budget.ts'

const KIB = 1024

describe('one body', () => {
  const open = (maxBytes: number) =>
    createBodyBudget({ maxHeldBytes: 10_000, smallBytes: 100 }).startBody(maxBytes)

  test('has the bytes of its pieces in order, whatever their sizes', () => {
    for (const sizes of [[], [1], [3, 1, 1, 200, 5, 1_000, 1], [100, 100], [1, 99, 1]]) {
      const body = open(5_000)
      const pieces = sizes.map((size, index) => Buffer.alloc(size, index + 1))
      for (const piece of pieces) expect(body.add(piece)).toBeUndefined()

      expect(body.bytes().equals(Buffer.concat(pieces))).toBe(true)
    }
  })

  test('may have exactly as many bytes as were announced', () => {
    const body = open(100)

    expect([body.add(Buffer.alloc(60)), body.add(Buffer.alloc(40))]).toEqual([undefined, undefined])
    expect(body.add(Buffer.alloc(1))).toBe('too_large')
    expect(body.bytes()).toHaveLength(100)
  })

  test('may have 1,024 tiny pieces; with more they must have 256 bytes on the average', () => {
    const tiny = () => {
      const body = createBodyBudget().startBody(1024 * KIB)
      for (let piece = 0; piece < 1_024; piece++) expect(body.add(Buffer.alloc(1))).toBeUndefined()
      return body
    }

    expect(tiny().add(Buffer.alloc(1))).toBe('too_many_pieces')
    expect(tiny().add(Buffer.alloc(1_025 * 256 - 1_024 - 1))).toBe('too_many_pieces')
    expect(tiny().add(Buffer.alloc(1_025 * 256 - 1_024))).toBeUndefined()
  })

  test('that comes in one piece is not copied', () => {
    const piece = Buffer.from('abc')
    const body = open(5_000)
    body.add(piece)

    expect(body.bytes()).toBe(piece)
  })

  test('may fill the buffer that it has, even when small bodies have taken more than the whole budget', () => {
    const budget = createBodyBudget({ maxHeldBytes: 1_000, smallBytes: 100 })
    const body = budget.startBody(5_000)
    for (const bytes of [400, 1]) body.add(Buffer.alloc(bytes))
    for (let count = 0; count < 3; count++) budget.startBody(100).add(Buffer.alloc(100))

    expect([body.add(Buffer.alloc(399)), body.add(Buffer.alloc(1))]).toEqual([undefined, 'no_room'])
  })

  test('that was dropped may be begun again, as if it were new', () => {
    const body = open(5_000)
    body.add(Buffer.from('abc'))
    body.drop()

    expect(body.add(Buffer.from('de'))).toBeUndefined()

    expect(body.bytes().toString()).toBe('de')
  })

  test('is refused for its length before its pieces, and for its pieces before the room', () => {
    const add = (maxBytes: number, ...sizes: number[]) => {
      const body = createBodyBudget({ maxHeldBytes: 0, smallBytes: 2_000 }).startBody(maxBytes)
      return sizes.map((size) => body.add(Buffer.alloc(size))).at(-1)
    }
    const tiny = Array<number>(1_024).fill(1)

    expect([add(1_024, ...tiny, 1), add(5_000, ...tiny, 1), add(5_000, 2_001)]).toEqual([
      'too_large',
      'too_many_pieces',
      'no_room',
    ])
  })

  test('has no bytes after it was dropped', () => {
    const body = open(100)
    body.add(Buffer.from('abc'))

    body.drop()

    expect(body.bytes()).toHaveLength(0)
  })
})

describe('without settings of its own', () => {
  test('a budget has 128 MB, and bodies up to 16 KB are small', () => {
    // One buffer stands for all: only its length counts.
    const piece = Buffer.alloc(32 * 1024 * KIB)
    const budget = createBodyBudget()
    const large = (bytes: Buffer) => budget.startBody(Number.POSITIVE_INFINITY).add(bytes)

    expect([1, 2, 3, 4].map(() => large(piece))).toEqual(Array(4).fill(undefined))
    expect(large(Buffer.alloc(16 * KIB + 1))).toBe('no_room')
    expect(large(Buffer.alloc(16 * KIB))).toBeUndefined()
  })
})

/** In a budget of 1,000 bytes, where bodies up to 100 bytes are small: how many a further body may bring. */
describe('the room that is left', () => {
  const roomBeside = (use: (budget: ReturnType<typeof createBodyBudget>) => void) => {
    const fits = (bytes: number) => {
      const budget = createBodyBudget({ maxHeldBytes: 1_000, smallBytes: 100 })
      use(budget)
      return budget.startBody(5_000).add(Buffer.alloc(bytes)) === undefined
    }
    return Array.from({ length: 1_001 }, (_, bytes) => bytes).findLast(fits)
  }
  const add = (body: ReturnType<ReturnType<typeof createBodyBudget>['startBody']>, ...sizes: number[]) => {
    for (const size of sizes) body.add(Buffer.alloc(size))
    return body
  }

  test.each<[string, (budget: ReturnType<typeof createBodyBudget>) => void, number]>([
    ['nothing', () => {}, 1_000],
    ['one piece, as it is', (budget) => add(budget.startBody(5_000), 400), 600],
    ['a body that has grown, doubled', (budget) => add(budget.startBody(5_000), 400, 1), 200],
    ['a body that fits what it has doubled to', (budget) => add(budget.startBody(5_000), 400, 1, 399), 200],
    [
      'a body that may not double to more than it has announced',
      (budget) => add(budget.startBody(500), 400, 1),
      500,
    ],
    ['a large second piece', (budget) => add(budget.startBody(5_000), 10, 890), 100],
    ['a small body, doubled to the size of small ones', (budget) => add(budget.startBody(5_000), 60, 1), 900],
    ['a small body that has announced less', (budget) => add(budget.startBody(70), 60, 1), 930],
    ['a piece that was refused', (budget) => add(budget.startBody(5_000), 300, 701), 700],
    ['a body that was dropped', (budget) => add(budget.startBody(5_000), 400, 1).drop(), 1_000],
    [
      'a body that was dropped twice',
      (budget) => {
        add(budget.startBody(5_000), 500)
        const body = add(budget.startBody(5_000), 400)
        body.drop()
        body.drop()
      },
      500,
    ],
    [
      'more small bodies than it has bytes for',
      (budget) => {
        for (let count = 0; count < 11; count++) add(budget.startBody(100), 100)
      },
      100,
    ],
  ])('beside %s', (_what, use, room) => {
    expect(roomBeside(use)).toBe(room)
  })
})
