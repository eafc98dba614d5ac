/** With REDIS_WAIT_REPLICAS, on a real primary and a real replica. */
import { beforeEach, expect, test } from 'vitest'
import { EVENT_VERSION, type InboundJob } from '../../../src/core/event.ts'
import type { AddInbound } from '../../../src/queue/backend.ts'
import { openRedisBackend } from '../../../src/queue/redis-backend.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { eventually } from '../../support/eventually.ts'
import { describeWithRedis, type RedisServer, startRedisServer, withRedis } from '../../support/redis.ts'

const ID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQz'

describeWithRedis('a receiver that waits for a replica', () => {
  let primary: RedisServer
  let replica: RedisServer
  let add: AddInbound

  beforeEach(async () => {
    // A full copy would otherwise wait 5 s for more replicas to come.
    primary = await startRedisServer({ args: ['--repl-diskless-sync-delay', '0'] })
    replica = await startRedisServer({ args: ['--replicaof', '127.0.0.1', String(primary.port)] })
    await eventually(async () => {
      const info = await withRedis(replica.url, (redis) => redis.info('replication'))
      expect(info).toContain('master_link_status:up')
    })
    add = await startReceiver()
  })

  async function startReceiver(): Promise<AddInbound> {
    const redis = { url: primary.url, clusterNodes: [], sentinels: [], waitReplicas: 1 }
    const backend = openRedisBackend({ redis, onError: () => {} })
    cleanUp(() => backend.close())
    const addInbound = backend.createInboundAdd()
    await backend.ready()
    return addInbound
  }

  test('confirms nothing that a failover to it would lose', async () => {
    await add([job(ID)])
    primary.kill()
    await withRedis(replica.url, (redis) => redis.call('REPLICAOF', 'NO', 'ONE'))

    expect(await withRedis(replica.url, (redis) => redis.lrange('{wa}:inbound:wait', 0, -1))).toEqual([ID])
  })

  test('does not confirm what the replica does not, also when it comes again to another receiver', async () => {
    replica.kill('SIGSTOP')
    cleanUp(() => replica.kill('SIGCONT'))

    await expect(add([job(ID)])).rejects.toThrow('0 of 1 replicas')
    const addElsewhere = await startReceiver()
    await expect(addElsewhere([job(ID)])).rejects.toThrow('0 of 1 replicas')
  })

  test('confirms again when the replica is back', async () => {
    replica.kill('SIGSTOP')
    await expect(add([job(ID)])).rejects.toThrow()
    replica.kill('SIGCONT')

    await eventually(async () => expect(await (await add([job(ID)])).dropped).toBe(1))
  })
})

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
