/** BullMQ's worker on a full Redis, which refuses to hand out jobs. On PostgreSQL: postgres-worker-repairs.test.ts. */
import { expect, test } from 'vitest'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { describeWithRedis, startRedisServer } from '../support/redis.ts'
import { withRedis } from '../support/redis-server.ts'

describeWithRedis('a worker that is started into a full Redis', () => {
  test('asks a few times a second, and works as soon as there is room', async () => {
    const { url } = await startRedisServer()
    const limitMemory = (value: string) => withRedis(url, (redis) => redis.config('SET', 'maxmemory', value))
    const backend = openRedisBackend({
      redis: { url, clusterNodes: [], sentinels: [] },
      onError: () => {},
    })
    cleanUp(() => backend.close())
    await backend.createQueue('outbound').add('send', {}, { jobId: 'a' })
    await limitMemory('1')
    const ran: unknown[] = []
    const refusals: string[] = []
    const worker = backend.createWorker('outbound', async ({ id }) => ran.push(id), { concurrency: 1 })
    worker.on('error', ({ message }) => refusals.push(message))
    worker.run().catch(() => {})

    const startedAt = performance.now()
    await eventually(() => expect(refusals.length).toBeGreaterThan(3))
    expect(performance.now() - startedAt).toBeGreaterThan(1_000)

    expect(ran).toEqual([])
    await limitMemory('0')
    await eventually(() => expect(ran).toEqual(['a']))
  })
})
