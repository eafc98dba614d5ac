import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { renderConfigurationPage, renderConfigurationTable } from '../../src/config/configuration-page.ts'
import { describeConfig } from '../../src/config/describe-config.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { describeVariables } from '../../src/config/variables.ts'
import { valuesOf } from '../../src/providers/definition.ts'
import { meta } from '../../src/providers/meta/definition.ts'
import { twilio } from '../../src/providers/twilio/definition.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { errorOf, PRODUCTION, problemsOf, TWILIO } from './environments.ts'

describe('a configuration without any variable', () => {
  test('listens on loopback, keeps everything in .data and generates its secrets', () => {
    const DATA_DIR = createTempDirectory()

    const config = loadConfig({ DATA_DIR })

    expect(config.http).toMatchObject({ port: 3000, host: '127.0.0.1', adminPort: undefined })
    expect(config.database.url).toBeUndefined()
    expect(config.redis).toBeUndefined()
    expect(config.mediaDir).toBe(join(DATA_DIR, 'media'))
    expect(valuesOf(config.providers, meta).META_APP_SECRET).toHaveLength(1)
    expect(valuesOf(config.providers, twilio).TWILIO_AUTH_TOKEN).toHaveLength(1)
    expect(config.admin.password.length).toBeGreaterThanOrEqual(16)
    expect(config.generated).toEqual({
      names: ['META_APP_SECRET', 'META_VERIFY_TOKEN', 'TWILIO_AUTH_TOKEN', 'ADMIN_PASSWORD'],
      file: join(DATA_DIR, 'secrets.json'),
    })
    expect(config.warnings).toEqual([])
  })

  test('has the same secrets at the second start', () => {
    const env = { DATA_DIR: createTempDirectory() }

    const [first, second] = [loadConfig(env), loadConfig(env)].map((config) => ({
      ...config,
      providers: config.providers.map(({ name, values }) => ({ name, values })),
    }))

    expect(second).toEqual(first)
  })

  test('cannot be changed afterwards', () => {
    const config = loadConfig(PRODUCTION)

    expect(() => {
      config.http.port = 1
    }).toThrow(TypeError)
    expect(() => valuesOf(config.providers, meta).META_APP_SECRET?.push('another')).toThrow(TypeError)
  })
})

describe('values', () => {
  test('lists are trimmed, empty parts and empty variables do not count', () => {
    const config = loadConfig({
      ...PRODUCTION,
      META_APP_SECRET: ' old-app-secret-0001 , new-app-secret-0002 ,, ',
      REDIS_CLUSTER_NODES: 'redis-1:7001, redis-2, [::1]:7003',
      PORT: '  ',
      META_ACCESS_TOKEN: '',
    })

    expect(valuesOf(config.providers, meta).META_APP_SECRET).toEqual([
      'old-app-secret-0001',
      'new-app-secret-0002',
    ])
    expect(config.redis?.clusterNodes).toEqual([
      { host: 'redis-1', port: 7001 },
      { host: 'redis-2', port: 6379 },
      { host: '::1', port: 7003 },
    ])
    expect(config.http.port).toBe(3000)
    expect(valuesOf(config.providers, meta).META_ACCESS_TOKEN).toBeUndefined()
  })

  test('port 0 stands for any free port', () => {
    expect(loadConfig({ ...PRODUCTION, PORT: '0', ADMIN_PORT: '0' }).http).toMatchObject({
      port: 0,
      adminPort: 0,
    })
  })

  test('an admin port equal to the port is one port', () => {
    expect(loadConfig({ ...PRODUCTION, PORT: '8080', ADMIN_PORT: '8080' }).http.adminPort).toBeUndefined()
  })

  test.each([
    ['true', true],
    ['false', false],
    ['0', false],
    ['2', 2],
    ['loopback, 10.0.0.0/8,fd00::/8', 'loopback,10.0.0.0/8,fd00::/8'],
  ])('TRUST_PROXY=%s is what Express takes', (text, value) => {
    expect(loadConfig({ ...PRODUCTION, TRUST_PROXY: text }).http.trustProxy).toBe(value)
  })

  test.each([
    ['PORT', '65536'],
    ['PORT', '3000.5'],
    ['PORT', '0x50'],
    ['ADMIN_PORT', '-1'],
    ['HOST', 'http://localhost'],
    ['HOST', '127.0.0.1:3000'],
    ['TRUST_PROXY', '10.0.0.0/33'],
    ['TRUST_PROXY', 'nginx'],
    ['PUBLIC_URL', 'wa.example.com'],
    ['PUBLIC_URL', 'https://wa.example.com/?a=b'],
    ['DATABASE_URL', 'mysql://db/wa'],
    ['DATABASE_URL', 'postgres://user:pass#word@db:5432:1/wa'],
    ['REDIS_URL', 'localhost:6379'],
    ['REDIS_CLUSTER_NODES', 'redis-1:0'],
    ['REDIS_SENTINELS', ' , '],
    ['META_GRAPH_URL', 'https://graph.facebook.com'],
    ['META_PHONE_NUMBER_ID', '+1 555 000 1234'],
    ['TWILIO_ACCOUNT_SID', 'SK00000000000000000000000000000000'],
    ['TWILIO_FROM', 'whatsapp:support'],
    ['ADMIN_USER', 'ad:min'],
    ['API_TOKENS', 'one two'],
    ['BULL_BOARD_WRITE', 'maybe'],
    ['LOG_LEVEL', 'loud'],
    ['WORKER_CONCURRENCY', '0'],
  ])('%s=%s is refused', (name, value) => {
    expect(problemsOf({ ...PRODUCTION, [name]: value })).toContainEqual(
      expect.stringMatching(`^${name} must be `),
    )
  })

  test.each([
    ['DATABASE_URL', 'postgresql:///wa?host=/var/run/postgresql'],
    ['DATABASE_URL', 'postgres://us%23er:p%40ss@[::1]:5432/wa?sslmode=require'],
    ['REDIS_URL', 'rediss://:secret@cache.example.com:6380/1'],
    ['TWILIO_API_URL', 'http://127.0.0.1:4010/'],
    ['HOST', '::'],
    ['HOST', 'host-1.internal'],
    ['LOG_LEVEL', 'WARN'],
    ['NODE_ENV', 'production'],
  ])('%s=%s is accepted', (name, value) => {
    expect(() => loadConfig({ ...PRODUCTION, [name]: value })).not.toThrow()
  })

  test('every spelling of a Twilio sender gives the same value', () => {
    const account = { ...TWILIO, TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}` }
    const senders = ['+1 (555) 000-1234', '15550001234', 'WhatsApp:+15550001234'].map(
      (TWILIO_FROM) =>
        valuesOf(loadConfig({ ...PRODUCTION, ...account, TWILIO_FROM }).providers, twilio).TWILIO_FROM,
    )

    expect(new Set(senders)).toEqual(new Set(['whatsapp:+15550001234']))
  })
})

describe('a wrong configuration', () => {
  test('reports every wrong variable at once, a line each, with what is expected', () => {
    const error = errorOf({ ...PRODUCTION, PORT: 'abc', LOG_LEVEL: 'loud', TRUST_PROXY: 'nginx' })

    expect(error.message.split('\n')).toHaveLength(3)
    expect(error.problems[0]).toBe('PORT must be a whole number from 0 to 65535, not "abc"')
    expect(error.message).toContain('LOG_LEVEL must be one of trace, debug, info')
  })

  test('never repeats a secret', () => {
    const secrets = describeVariables().filter(({ isSecret }) => isSecret)
    const env = Object.fromEntries(secrets.map(({ name }) => [name, 'hush\u0001 hush,\u0001']))

    const { message } = errorOf({ ...env, NODE_ENV: 'production' })

    expect(message.split('\n').length).toBeGreaterThanOrEqual(secrets.length)
    expect(message).not.toContain('hush')
  })

  test.each([
    ['TWILIO_API_URL', `https://AC${'0'.repeat(32)}:hush@api.twilio.com`],
    ['REDIS_SENTINELS', 'redis://:hush@sentinel-1:26379'],
    ['REDIS_CLUSTER_NODES', 'user:hush@redis-1'],
    ['PUBLIC_URL', 'https://wa.example.com/?key=hush'],
    ['META_GRAPH_URL', 'https://graph.facebook.com/?access_token=hush'],
    ['META_PHONE_NUMBER_ID', 'EAAGhush'.padEnd(120, 'x')],
    ['ADMIN_USER', 'admin:hush-hush'],
  ])('never repeats a credential that was pasted into %s', (name, value) => {
    const { message } = errorOf({ ...PRODUCTION, [name]: value })

    expect(message).toMatch(new RegExp(`^${name} must be `, 'm'))
    expect(message).not.toContain('hush')
  })

  test.each([
    ['DATABASE_DIRECT_URL', 'postgres://db/wa', 'DATABASE_URL'],
    ['REDIS_SENTINELS', 'sentinel-1', 'REDIS_SENTINEL_NAME'],
    ['REDIS_SENTINEL_NAME', 'primary', 'REDIS_SENTINELS'],
    ['META_PHONE_NUMBER_ID', '1000001', 'META_ACCESS_TOKEN'],
    ['TWILIO_FROM', '+15550001234', 'TWILIO_ACCOUNT_SID'],
    ['TWILIO_ACCOUNT_SID', `AC${'0'.repeat(32)}`, 'TWILIO_AUTH_TOKEN'],
  ])('%s without its other half is refused', (name, value, needed) => {
    const { DATABASE_URL: _, ...env } = PRODUCTION

    expect(problemsOf({ ...env, [name]: value })).toEqual([
      `${name} is set without ${needed}: set ${needed} too, or remove ${name}`,
    ])
  })

  test('a cluster and sentinels at the same time are refused', () => {
    const redis = { REDIS_CLUSTER_NODES: 'a', REDIS_SENTINELS: 'b', REDIS_SENTINEL_NAME: 'c' }

    expect(problemsOf({ ...PRODUCTION, ...redis })).toEqual([expect.stringContaining('are both set')])
  })

  test('a misspelt variable is a warning with the name that was meant', () => {
    const env = { ...PRODUCTION, META_APP_SECRETS: 'x', ADMIN_PASS: 'x', REDIS_PORT: 'tcp://10.0.0.1:6379' }

    expect(loadConfig(env).warnings).toEqual([
      'META_APP_SECRETS is not known: did you mean META_APP_SECRET?',
      'ADMIN_PASS is not known: did you mean ADMIN_PASSWORD?',
    ])
  })
})

describe('the description for the log', () => {
  test('says which secrets are set and shows none of them', () => {
    const hidden = 'quiet-otter-canyon-81'
    const text = JSON.stringify(
      describeConfig(
        loadConfig({
          ...PRODUCTION,
          DATABASE_URL: `postgres://user:${hidden}@db:5432/wa?password=${hidden}`,
          DATABASE_DIRECT_URL: `postgres://user:${hidden}@db:5433/wa`,
          REDIS_URL: `redis://user:${hidden}@cache:6379/1`,
          META_APP_SECRET: hidden,
          META_VERIFY_TOKEN: hidden,
          META_ACCESS_TOKEN: hidden,
          TWILIO_AUTH_TOKEN: hidden,
          PUBLIC_URL: 'https://wa.example.com/',
          ADMIN_PASSWORD: hidden,
          API_TOKENS: hidden,
          METRICS_TOKEN: hidden,
        }),
      ),
    )

    expect(text).not.toContain(hidden)
    expect(text).toContain('"database":"postgres://db:5432/wa"')
    expect(text).toContain('"queue":"redis://cache:6379/1"')
    expect(text).toContain('"metrics_token_configured":true')
  })
})

describe('the documentation', () => {
  test('docs/configuration.md is generated from the variables', async () => {
    await expect(renderConfigurationPage()).toMatchFileSnapshot('../../docs/configuration.md')
  })

  test('a configuration table in the README is generated from the variables', () => {
    const readme = existsSync('README.md') ? readFileSync('README.md', 'utf8') : ''
    const table = /<!-- config:start -->\n([\s\S]*?)\n<!-- config:end -->/.exec(readme)?.[1]

    if (table !== undefined) expect(table.trim()).toBe(renderConfigurationTable())
  })
})
