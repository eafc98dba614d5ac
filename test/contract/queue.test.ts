import { migrateQueueSchema, openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { createEmptyDatabase } from '../support/postgres.ts'
import { describeWithRedis, takeRedisUrl } from '../support/redis.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { describeQueueContract } from './queue.contract.ts'

const onError = () => {}

describeWithRedis('with Redis', () => {
  describeQueueContract('Redis', async () => {
    const proxy = await startTcpProxy(await takeRedisUrl())
    const redis = { url: proxy.url, clusterNodes: [], sentinels: [] }
    return { backend: openRedisBackend({ redis, onError }), proxy }
  })
})

describeQueueContract('PostgreSQL', async () => {
  const { url } = await createEmptyDatabase()
  await migrateQueueSchema(url)
  const proxy = await startTcpProxy(url)
  return { backend: openPostgresBackend({ databaseUrl: proxy.url, onError }), proxy }
})
