import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { renderConfigurationPage, renderConfigurationTable } from '../src/config/configuration-page.ts'
import {
  ConfigError,
  describeConfig,
  describeVariables,
  type LoadOptions,
  loadConfig,
} from '../src/config.ts'

const META = { META_APP_SECRET: 'meta-app-secret-0001', META_VERIFY_TOKEN: 'verify-token-0001' }
const TWILIO = { TWILIO_AUTH_TOKEN: 'twilio-token-0001', PUBLIC_URL: 'https://wa.example.com' }
const ADMIN = { ADMIN_PASSWORD: 'correct horse battery' }
const PRODUCTION = { NODE_ENV: 'production', DATABASE_URL: 'postgres://db/wa', ...META, ...ADMIN }

describe('a configuration without any variable', () => {
  test('listens on loopback, keeps everything in .data and generates its secrets', () => {
    const DATA_DIR = temporaryFolder()

    const config = loadConfig({ DATA_DIR })

    expect(config.http).toMatchObject({ port: 3000, host: '127.0.0.1', adminPort: undefined })
    expect(config.database.url).toBeUndefined()
    expect(config.redis).toBeUndefined()
    expect(config.mediaDir).toBe(join(DATA_DIR, 'media'))
    expect(config.meta.appSecrets).toHaveLength(1)
    expect(config.twilio.authTokens).toHaveLength(1)
    expect(config.admin.password.length).toBeGreaterThanOrEqual(16)
    expect(config.generated).toEqual({
      names: ['META_APP_SECRET', 'META_VERIFY_TOKEN', 'TWILIO_AUTH_TOKEN', 'ADMIN_PASSWORD'],
      file: join(DATA_DIR, 'secrets.json'),
    })
    expect(config.warnings).toEqual([])
  })

  test('has the same secrets at the second start', () => {
    const env = { DATA_DIR: temporaryFolder() }

    const [first, second] = [loadConfig(env), loadConfig(env)]

    expect(second).toEqual(first)
  })

  test('cannot be changed afterwards', () => {
    const config = loadConfig(PRODUCTION)

    expect(() => {
      config.http.port = 1
    }).toThrow(TypeError)
    expect(() => config.meta.appSecrets.push('another')).toThrow(TypeError)
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

    expect(config.meta.appSecrets).toEqual(['old-app-secret-0001', 'new-app-secret-0002'])
    expect(config.redis?.clusterNodes).toEqual([
      { host: 'redis-1', port: 7001 },
      { host: 'redis-2', port: 6379 },
      { host: '::1', port: 7003 },
    ])
    expect(config.http.port).toBe(3000)
    expect(config.meta.accessToken).toBeUndefined()
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
  ])('%s=%s is taken', (name, value) => {
    expect(() => loadConfig({ ...PRODUCTION, [name]: value })).not.toThrow()
  })

  test('every spelling of a Twilio sender comes out the same', () => {
    const account = { ...TWILIO, TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}` }
    const senders = ['+1 (555) 000-1234', '15550001234', 'WhatsApp:+15550001234'].map(
      (TWILIO_FROM) => loadConfig({ ...PRODUCTION, ...account, TWILIO_FROM }).twilio.from,
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

describe('where others can reach the service', () => {
  test.each([
    ['in production', { NODE_ENV: 'production' }],
    ['on all addresses', { HOST: '0.0.0.0' }],
    ['on all IPv6 addresses', { HOST: '[::]' }],
    ['on a name', { HOST: 'wa.internal' }],
  ])('%s every missing secret is named and none is generated', (_, env) => {
    const DATA_DIR = temporaryFolder()

    const problems = problemsOf({ ...env, DATA_DIR })

    expect(problems).toEqual([
      expect.stringMatching(/^META_APP_SECRET is missing \(or TWILIO_AUTH_TOKEN/),
      expect.stringMatching(/^ADMIN_PASSWORD is missing/),
    ])
    expect(existsSync(join(DATA_DIR, 'secrets.json'))).toBe(false)
  })

  test.each(['127.0.0.1', '127.1.2.3', 'localhost', '::1', '[::1]'])(
    'HOST=%s is not such a place',
    (HOST) => {
      expect(() => loadConfig({ HOST, DATA_DIR: temporaryFolder() })).not.toThrow()
    },
  )

  test('one provider is enough', () => {
    const twilioOnly = { NODE_ENV: 'production', DATABASE_URL: 'postgres://db/wa', ...TWILIO, ...ADMIN }

    expect(loadConfig(PRODUCTION).twilio.authTokens).toEqual([])
    expect(loadConfig(twilioOnly).meta.appSecrets).toEqual([])
  })

  test('half a provider is not', () => {
    expect(problemsOf({ NODE_ENV: 'production', ...ADMIN, META_APP_SECRET: META.META_APP_SECRET })).toEqual([
      expect.stringMatching(/^META_VERIFY_TOKEN is missing/),
    ])
    expect(problemsOf({ ...PRODUCTION, META_APP_SECRET: '' })).toEqual([
      expect.stringMatching(/^META_APP_SECRET is missing/),
    ])
    expect(problemsOf({ ...PRODUCTION, TWILIO_AUTH_TOKEN: TWILIO.TWILIO_AUTH_TOKEN })).toEqual([
      expect.stringMatching(/^PUBLIC_URL is missing/),
    ])
  })

  test.each([
    ['ADMIN_PASSWORD', 'elevenchars', 'is too short'],
    ['ADMIN_PASSWORD', 'password1234', 'is made of words and digits'],
    ['META_APP_SECRET', 'your-app-secret-from-meta', 'still has the text of an example'],
    ['API_TOKENS', 'short-token', 'is too short'],
  ])('%s=%s is refused', (name, value, why) => {
    expect(problemsOf({ ...PRODUCTION, [name]: value })).toEqual([expect.stringMatching(`^${name} ${why}`)])
  })

  test('on this machine alone weak secrets are warnings', () => {
    const { warnings } = loadConfig({ ...META, ADMIN_PASSWORD: 'admin', DATA_DIR: temporaryFolder() })

    expect(warnings).toEqual([expect.stringMatching(/^ADMIN_PASSWORD is too short/)])
  })

  test.each(['prod', 'Production', 'PRODUCTION'])(
    'NODE_ENV=%s is not taken for a test machine',
    (NODE_ENV) => {
      expect(problemsOf({ NODE_ENV })).toEqual([expect.stringMatching(/^NODE_ENV must be production/)])
    },
  )

  test('risky settings are warnings', () => {
    const { DATABASE_URL: _, ...env } = PRODUCTION
    const risky = {
      ...env,
      TRUST_PROXY: 'true',
      PUBLIC_URL: 'http://wa.example.com',
      META_GRAPH_URL: 'http://proxy.internal/v25.0',
    }

    expect(loadConfig(risky).warnings).toEqual([
      expect.stringMatching(/^TRUST_PROXY is true/),
      expect.stringMatching(/^DATABASE_URL is not set/),
      expect.stringMatching(/^PUBLIC_URL is not https/),
      expect.stringMatching(/^META_GRAPH_URL is not https/),
    ])
  })

  test('commands that need no secrets neither demand nor generate them', () => {
    const DATA_DIR = temporaryFolder()

    const config = loadConfig(
      { NODE_ENV: 'production', DATABASE_URL: 'postgres://db/wa', DATA_DIR },
      { needsSecrets: false },
    )

    expect(config.database.url).toBe('postgres://db/wa')
    expect(config.admin.password).toBe('')
    expect(existsSync(join(DATA_DIR, 'secrets.json'))).toBe(false)
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
  test('docs/configuration.md is what the variables say', async () => {
    await expect(renderConfigurationPage()).toMatchFileSnapshot('../docs/configuration.md')
  })

  test('the table of the README, where there is one, is what the variables say', () => {
    const readme = existsSync('README.md') ? readFileSync('README.md', 'utf8') : ''
    const table = /<!-- config:start -->\n([\s\S]*?)\n<!-- config:end -->/.exec(readme)?.[1]

    if (table !== undefined) expect(table.trim()).toBe(renderConfigurationTable())
  })
})

function problemsOf(env: NodeJS.ProcessEnv, options?: LoadOptions): readonly string[] {
  return errorOf(env, options).problems
}

function errorOf(env: NodeJS.ProcessEnv, options?: LoadOptions): ConfigError {
  try {
    loadConfig(env, options)
  } catch (err) {
    if (err instanceof ConfigError) return err
    throw err
  }
  throw new Error('the configuration was taken')
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wa-ingest-config-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
