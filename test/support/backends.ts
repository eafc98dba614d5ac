import { test } from 'vitest'
import { hasRedis } from './redis.ts'

export type Backend = 'redis' | 'postgres'

/** The queue backends that can be had here, for suites that run on each of them. */
export const BACKENDS: readonly [Backend, ...Backend[]] = hasRedis ? ['redis', 'postgres'] : ['postgres']

/** `test` where the queue has no part in what is promised: it is defined on the first backend and not on the others. */
export function testOnce(backend: Backend): typeof test {
  return backend === BACKENDS[0] ? test : UNDEFINED
}

/** `test` for what happens with one queue backend only: it is defined on that one and not on the others. */
export function testOn(only: Backend, backend: Backend): typeof test {
  return backend === only ? test : UNDEFINED
}

const UNDEFINED = Object.assign(() => {}, { each: () => () => {} }) as unknown as typeof test
