import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load-config.ts'
import { valuesOf } from '../../src/providers/definition.ts'
import { meta } from '../../src/providers/meta/definition.ts'
import { twilio } from '../../src/providers/twilio/definition.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { ADMIN, META, PRODUCTION, problemsOf, TWILIO } from './environments.ts'

describe('where others can reach the service', () => {
  test.each([
    ['in production', { NODE_ENV: 'production' }],
    ['on all addresses', { HOST: '0.0.0.0' }],
    ['on all IPv6 addresses', { HOST: '[::]' }],
    ['on a name', { HOST: 'wa.internal' }],
    ['with a public address', { PUBLIC_URL: 'https://wa.example.com' }],
    ['with an address in the network', { PUBLIC_URL: 'http://10.0.0.7:3000' }],
    ['behind a number of proxies', { TRUST_PROXY: '1' }],
    ['behind a proxy on this machine', { TRUST_PROXY: 'loopback' }],
    ['behind any proxy', { TRUST_PROXY: 'true' }],
  ])('%s every missing secret is named and none is generated', (_, env) => {
    const DATA_DIR = createTempDirectory()

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
      expect(() => loadConfig({ HOST, DATA_DIR: createTempDirectory() })).not.toThrow()
    },
  )

  test.each([
    { PUBLIC_URL: 'http://127.0.0.1:3000' },
    { PUBLIC_URL: 'https://localhost/wa' },
    { PUBLIC_URL: 'http://[::1]:3000' },
    { TRUST_PROXY: 'false' },
    { TRUST_PROXY: '0' },
    {},
  ])('with %o others cannot reach the service', (env) => {
    const config = loadConfig({ ...env, DATA_DIR: createTempDirectory() })

    expect(config.generated.names).toContain('ADMIN_PASSWORD')
  })

  test('one provider is enough', () => {
    const twilioOnly = { NODE_ENV: 'production', DATABASE_URL: 'postgres://db/wa', ...TWILIO, ...ADMIN }

    expect(valuesOf(loadConfig(PRODUCTION).providers, twilio).TWILIO_AUTH_TOKEN).toBeUndefined()
    expect(valuesOf(loadConfig(twilioOnly).providers, meta).META_APP_SECRET).toBeUndefined()
  })

  test('a provider that is half set up is not enough', () => {
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

  test('a weak secret is refused on loopback when a proxy stands in front', () => {
    const proxied = { ...META, PUBLIC_URL: 'https://wa.example.com', TRUST_PROXY: '1' }

    expect(problemsOf({ ...proxied, ADMIN_PASSWORD: 'admin', DATA_DIR: createTempDirectory() })).toEqual([
      expect.stringMatching(/^ADMIN_PASSWORD is too short/),
    ])
  })

  test('on this machine alone weak secrets are warnings', () => {
    const { warnings } = loadConfig({ ...META, ADMIN_PASSWORD: 'admin', DATA_DIR: createTempDirectory() })

    expect(warnings).toEqual([expect.stringMatching(/^ADMIN_PASSWORD is too short/)])
  })

  test.each(['prod', 'Production', 'PRODUCTION'])(
    'NODE_ENV=%s is not taken for a test machine',
    (NODE_ENV) => {
      expect(problemsOf({ NODE_ENV })).toEqual([expect.stringMatching(/^NODE_ENV must be production/)])
    },
  )

  test('commands that need no secrets neither demand nor generate them', () => {
    const DATA_DIR = createTempDirectory()

    const config = loadConfig(
      { NODE_ENV: 'production', DATABASE_URL: 'postgres://db/wa', DATA_DIR },
      { needsSecrets: false },
    )

    expect(config.database.url).toBe('postgres://db/wa')
    expect(config.admin.password).toBe('')
    expect(existsSync(join(DATA_DIR, 'secrets.json'))).toBe(false)
  })
})
