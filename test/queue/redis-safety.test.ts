import { Cluster, Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { checkRedisSafety } from '../../src/queue/redis-safety.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { describeWithRedis, startRedisServer } from '../support/redis.ts'

const SAFE = [
  '--appendonly',
  'yes',
  '--appendfsync',
  'always',
  '--maxmemory',
  '64mb',
  '--maxmemory-policy',
  'noeviction',
]

describeWithRedis('the settings of Redis', () => {
  test('as docker-compose.yml sets them are safe', async () => {
    const client = await connectToOwnServer(SAFE)

    expect(await checkRedisSafety(client)).toEqual([])
  })

  test.each([
    ['appendonly', 'no', 'yes'],
    ['appendfsync', 'everysec', 'always'],
    ['appendfsync', 'no', 'always'],
    ['no-appendfsync-on-rewrite', 'yes', 'no'],
    ['maxmemory', '0', 'a limit below the memory of the machine'],
    ['maxmemory-policy', 'volatile-lru', 'noeviction'],
    ['maxmemory-policy', 'allkeys-lfu', 'noeviction'],
  ])('%s %s is unsafe', async (name, actual, expected) => {
    const client = await connectToOwnServer(SAFE)
    await client.config('SET', name, actual)

    expect(await checkRedisSafety(client)).toEqual([
      {
        setting: `redis ${name}`,
        actual,
        expected,
        severity: 'unsafe',
        advice: expect.stringContaining('set'),
      },
    ])
  })

  test('are read from INFO where CONFIG is not allowed; the one that is not there cannot be checked', async () => {
    const client = await connectToOwnServer([...SAFE.with(1, 'no'), '--rename-command', 'CONFIG', ''])

    expect(await checkRedisSafety(client)).toMatchObject([
      { setting: 'redis appendonly', actual: '0', severity: 'unsafe' },
      { setting: 'redis appendfsync', actual: 'unknown', severity: 'unchecked' },
      { setting: 'redis no-appendfsync-on-rewrite', actual: 'unknown', severity: 'unchecked' },
    ])
  })

  test('that a user may not look at are findings and no failure', async () => {
    const admin = await connectToOwnServer(SAFE)
    await admin.call('ACL', 'SETUSER', 'app', 'on', '>pass', '~*', '+@all', '-config', '-info')
    const client = new Redis({
      port: admin.options.port ?? 0,
      username: 'app',
      password: 'pass',
      enableReadyCheck: false,
      maxRetriesPerRequest: 0,
    })
    cleanUp(() => client.disconnect())

    const findings = await checkRedisSafety(client)

    expect(findings.map(({ severity }) => severity)).toEqual([
      'unchecked',
      'unchecked',
      'unchecked',
      'unchecked',
      'unchecked',
    ])
  })

  test('a limit above the memory of the machine is none', async () => {
    const client = await connectToOwnServer(SAFE)
    await client.config('SET', 'maxmemory', String(1024 ** 5))

    expect(await checkRedisSafety(client)).toMatchObject([
      { setting: 'redis maxmemory', actual: expect.stringContaining(`${1024 ** 5} bytes on a machine with`) },
    ])
  })

  test.each([
    [30_000, 'behind the clock of this machine'],
    [-30_000, 'ahead of the clock of this machine'],
  ])('a machine whose clock is %d ms ahead is told by the server', async (aheadMs, actual) => {
    const client = await connectToOwnServer(SAFE)

    const findings = await checkRedisSafety(client, () => Date.now() + aheadMs)

    expect(
      findings.map((finding) => ({ ...finding, actual: finding.actual.replace(/^[\d.]+ s /, '') })),
    ).toMatchObject([{ setting: 'redis clock', actual, severity: 'unsafe' }])
  })

  test('are looked up on every primary of a cluster', async () => {
    const asCluster = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1']
    const node = await connectToOwnServer([...SAFE.with(7, 'allkeys-lru'), ...asCluster])
    await node.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot))
    await eventually(async () => expect(await node.call('CLUSTER', 'INFO')).toContain('cluster_state:ok'))
    const cluster = new Cluster([{ host: '127.0.0.1', port: node.options.port ?? 0 }])
    cleanUp(() => cluster.disconnect())
    await cluster.ping()

    expect(await checkRedisSafety(cluster)).toMatchObject([
      { setting: `redis 127.0.0.1:${node.options.port} maxmemory-policy`, actual: 'allkeys-lru' },
    ])
  })

  test('of a server that is away are an error', async () => {
    const client = new Redis({
      port: 1,
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
    })
    client.on('error', () => {})

    await expect(checkRedisSafety(client)).rejects.toThrow()
  })
})

async function connectToOwnServer(args: readonly string[]): Promise<Redis> {
  const server = await startRedisServer({ args })
  const client = new Redis(server.url)
  client.on('error', () => {})
  cleanUp(() => client.disconnect())
  return client
}
