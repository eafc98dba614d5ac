/** Adding to the queue on PostgreSQL. The promises of both backends are in test/contract/queue.contract.ts. */
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { inboundJob } from '../support/inbound-queue.ts'
import { openPostgresQueue } from './postgres-queue.ts'

const ROUNDS = 10
const JOBS_PER_ROUND = 250

test('a count of duplicates that fails after its caller has gone does not end the process', async () => {
  const { backend, relay } = await openPostgresQueue()
  const unhandled: unknown[] = []
  const listener = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', listener)
  cleanUp(() => process.off('unhandledRejection', listener))

  const { dropped } = await backend.createInboundAdd()([inboundJob('wamid.A')])
  await relay.takeDown()

  // Reads the state of the promise without a handler, which would hide an unhandled rejection.
  await eventually(() => expect(inspect(dropped)).toContain('<rejected>'))
  expect(unhandled).toEqual([])
})

test('two receivers that add the same events in opposite order do not wait for each other', async () => {
  const { backend } = await openPostgresQueue()
  const [add, addToo] = [backend.createInboundAdd(), backend.createInboundAdd()]

  for (let round = 0; round < ROUNDS; round++) {
    const jobs = Array.from({ length: JOBS_PER_ROUND }, (_, number) => inboundJob(`wamid.${round}.${number}`))
    await Promise.all([add(jobs), addToo(jobs.toReversed())])
  }

  expect(await backend.createQueue('inbound').getWaitingCount()).toBe(ROUNDS * JOBS_PER_ROUND)
})
