/** Adding to the queue on PostgreSQL. The promises of both backends are in test/contract/queue.contract.ts. */
import { expect, test } from 'vitest'
import { inboundJob } from '../support/inbound-queue.ts'
import { openPostgresQueue } from './postgres-queue.ts'

const ROUNDS = 10
const JOBS_PER_ROUND = 250

test('two receivers that add the same events in opposite order do not wait for each other', async () => {
  const { backend } = await openPostgresQueue()
  const [add, addToo] = [backend.createInboundAdd(), backend.createInboundAdd()]

  for (let round = 0; round < ROUNDS; round++) {
    const jobs = Array.from({ length: JOBS_PER_ROUND }, (_, number) => inboundJob(`wamid.${round}.${number}`))
    await Promise.all([add(jobs), addToo(jobs.toReversed())])
  }

  expect(await backend.createQueue('inbound').getWaitingCount()).toBe(ROUNDS * JOBS_PER_ROUND)
})
