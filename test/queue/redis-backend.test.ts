/** Commands and connections when a connection breaks, or another server becomes the primary. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { QueueBackend } from '../../src/queue/backend.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { inboundJob, openInboundQueue } from '../support/inbound-queue.ts'
import { describeWithRedis, type RedisServer, startRedisServer, withRedis } from '../support/redis.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { openLossyRelay } from './lossy-relay.ts'

const RECOVERY = { timeoutMs: 10_000 }

function openBackend(url: string): QueueBackend {
  const backend = openRedisBackend({ redis: { url, clusterNodes: [], sentinels: [] }, onError: () => {} })
  cleanUp(() => backend.close())
  return backend
}

/** Runs the jobs of the queue `inbound`, one at a time; `ran` grows with them. */
function consume(backend: QueueBackend, finish: Promise<unknown> = Promise.resolve()): { ran: string[] } {
  const ran: string[] = []
  const consumer = backend.createInboundConsumer({
    concurrency: 1,
    process: async ({ id }) => {
      ran.push(id)
      await finish
      return { outcome: 'stored' }
    },
    onFailed: () => {},
  })
  consumer.run()
  cleanUp(() => consumer.close())
  return { ran }
}

describeWithRedis('the backend on Redis', () => {
  test('jobs of a lost answer run on another consumer, however long the next ones take', async () => {
    const { url: redisUrl } = await startRedisServer()
    const { add, queue } = await openInboundQueue({ redisUrl })
    await add([inboundJob('wamid.lost'), inboundJob('wamid.next')])
    // The text of the script that reserves jobs; a server that has never run it gets the text.
    const relay = await openLossyRelay(redisUrl, "'taken:'")
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const { ran } = consume(openBackend(relay.url), released)
    cleanUp(() => release())
    await relay.lost
    await eventually(async () => expect(await queue.getActiveCount()).toBe(1))
    relay.cut()
    await eventually(() => expect(ran).toEqual(['wamid.next']))

    const elsewhere = consume(openBackend(redisUrl))

    await eventually(() => expect(elsewhere.ran).toEqual(['wamid.lost']))
    expect(ran).toEqual(['wamid.next'])
  })

  describe('while another server becomes the primary behind the same address', () => {
    let server: RedisServer
    let successor: RedisServer
    let relay: TcpProxy
    let backend: QueueBackend

    beforeEach(async () => {
      ;[server, successor] = await Promise.all([startRedisServer(), startRedisServer()])
      relay = await startTcpProxy(server.url)
      backend = openBackend(relay.url)
    })

    /** Connections that are open stay open. */
    async function replaceServer(): Promise<void> {
      relay.redirect(successor.url)
      await withRedis(server.url, (redis) => redis.call('REPLICAOF', '127.0.0.1', successor.port))
    }

    async function addTo({ url }: RedisServer, id: string): Promise<void> {
      await (await openInboundQueue({ redisUrl: url })).add([inboundJob(id)])
    }

    test('a receiver adds to it', async () => {
      const add = backend.createInboundAdd()
      await backend.ready()
      await add([inboundJob('wamid.A')])

      await replaceServer()

      await eventually(() => add([inboundJob('wamid.B')]), RECOVERY)
      const waiting = await withRedis(successor.url, (redis) => redis.lrange('{wa}:inbound:wait', 0, -1))
      expect(waiting).toEqual(['wamid.B'])
    })

    test('a consumer runs its jobs', async () => {
      await addTo(server, 'wamid.A')
      const { ran } = consume(backend)
      await eventually(() => expect(ran).toEqual(['wamid.A']))

      await replaceServer()
      await addTo(successor, 'wamid.B')

      await eventually(() => expect(ran).toEqual(['wamid.A', 'wamid.B']), RECOVERY)
    })

    test("BullMQ's queue and worker go on with it", async () => {
      const ran: unknown[] = []
      const queue = backend.createQueue('outbound')
      const worker = backend.createWorker('outbound', async ({ id }) => ran.push(id), { concurrency: 5 })
      void worker.run()
      await queue.add('send', {}, { jobId: 'A' })
      await eventually(() => expect(ran).toEqual(['A']))

      await replaceServer()
      await eventually(() => queue.add('send', {}, { jobId: 'B' }), RECOVERY)

      await eventually(() => expect(ran).toEqual(['A', 'B']), RECOVERY)
    })
  })
})
