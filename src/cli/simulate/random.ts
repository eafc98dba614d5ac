/** Random numbers that a seed repeats. */
export type Random = {
  /** From 0 to below 1. */
  next(): number
  /** A whole number from 0 to below `limit`. */
  integer(limit: number): number
  chance(share: number): boolean
  pick<T>(list: readonly [T, ...T[]]): T
}

/** Mulberry32: 32 bits of state are plenty for made-up messages, and it is the fastest there is. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const integer = (limit: number) => Math.floor(next() * limit)
  return {
    next,
    integer,
    chance: (share) => next() < share,
    pick: (list) => list[integer(list.length)] ?? list[0],
  }
}

/** A seed of its own for each purpose and number, so that one event can be made again without those before it. */
export function deriveSeed(seed: number, purpose: number, number: number): number {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
  for (const part of [purpose, number]) {
    hash = Math.imul(hash ^ part, 0xcc9e2d51)
    hash = Math.imul(hash ^ (hash >>> 15), 0x1b873593)
    hash ^= hash >>> 13
  }
  return hash >>> 0
}
