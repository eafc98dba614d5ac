/** With REDIS_WAIT_REPLICAS, on a real primary and a real replica. */
import { beforeEach, expect, test } from 'vitest'
import { EVENT_VERSION, type InboundJob } from '../../../src/core/event.ts'
import type { AddInbound } from '../../../src/queue/backend.ts'
import { openRedisBackend } from '../../../src/queue/redis-backend.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { eventually } from '../../support/eventually.ts'
import { describeWithRedis, type RedisServer, startRedisServer, withRedis } from '../../support/redis.ts'
import { startTcpProxy } from '../../support/tcp-proxy.ts'
import { openLossyRelay } from '../lossy-relay.ts'

const ID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQz'
/** Without it, Redis waits 5 s for more replicas before it starts a full copy. */
const AT_ONCE = ['--repl-diskless-sync-delay', '0']

describeWithRedis('a receiver that waits for a replica', () => {
  let primary: RedisServer
  let replica: RedisServer
  let add: AddInbound

  beforeEach(async () => {
    primary = await startRedisServer({ args: AT_ONCE })
    replica = await startReplica(primary.url)
    add = await startReceiver()
  })

  async function startReplica(url: string): Promise<RedisServer> {
    const server = await startRedisServer({
      args: [...AT_ONCE, '--replicaof', '127.0.0.1', new URL(url).port],
    })
    await eventually(async () => {
      const info = await withRedis(server.url, (redis) => redis.info('replication'))
      expect(info).toContain('master_link_status:up')
    })
    return server
  }

  async function startReceiver(url = primary.url): Promise<AddInbound> {
    const redis = { url, clusterNodes: [], sentinels: [], waitReplicas: 1 }
    const backend = openRedisBackend({ redis, onError: () => {} })
    cleanUp(() => backend.close())
    const addInbound = backend.createInboundAdd()
    await backend.ready()
    return addInbound
  }

  test('confirms only events that the replica has', async () => {
    // A busy machine may need more than one try.
    await eventually(() => add([job(ID)]))
    primary.kill()
    await withRedis(replica.url, (redis) => redis.call('REPLICAOF', 'NO', 'ONE'))

    expect(await withRedis(replica.url, (redis) => redis.lrange('{wa}:inbound:wait', 0, -1))).toEqual([ID])
  })

  test('does not confirm a duplicate of an event that the replica does not have', async () => {
    replica.kill('SIGSTOP')
    cleanUp(() => replica.kill('SIGCONT'))

    await expect(add([job(ID)])).rejects.toThrow('0 of 1 replicas')
    const addElsewhere = await startReceiver()
    await expect(addElsewhere([job(ID)])).rejects.toThrow('0 of 1 replicas')
  })

  test('does not let a new primary confirm an event that it never got', async () => {
    const link = await startTcpProxy(primary.url)
    const successor = await startReplica(link.url)
    await startReplica(successor.url)
    const address = await startTcpProxy(primary.url)
    const relay = await openLossyRelay(address.url, '{wa}:replicated')
    const addThere = await startReceiver(relay.url)
    // The primary is cut off from its replicas, and does not notice yet.
    replica.kill()
    link.freeze()
    await promote(successor)

    const added = addThere([job(ID)]).then(
      () => 'confirmed',
      () => 'not confirmed',
    )
    await relay.lost
    address.redirect(successor.url)
    relay.cut()

    expect(await added).toBe('not confirmed')
    expect(await withRedis(successor.url, (redis) => redis.lrange('{wa}:inbound:wait', 0, -1))).toEqual([])
  })

  test('confirms again when the replica is back', async () => {
    replica.kill('SIGSTOP')
    await expect(add([job(ID)])).rejects.toThrow()
    replica.kill('SIGCONT')

    await eventually(async () => expect(await (await add([job(ID)])).dropped).toBe(1))
  })
})

/** Waits until the primary's own replica confirms a write. */
async function promote({ url }: RedisServer): Promise<void> {
  await withRedis(url, async (redis) => {
    await redis.call('REPLICAOF', 'NO', 'ONE')
    await eventually(async () => {
      await redis.set('promoted', 1)
      expect(await redis.wait(1, 100)).toBe(1)
    })
  })
}

function job(job_id: string): InboundJob {
  return {
    job_id,
    event: {
      v: EVENT_VERSION,
      kind: 'message',
      provider: 'meta',
      received_at: 1_780_272_000_000,
      payload: '{}',
    },
  }
}
