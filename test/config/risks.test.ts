import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load-config.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { PRODUCTION } from './environments.ts'

const HTTPS = { ...PRODUCTION, PUBLIC_URL: 'https://wa.example.com' }

test('risky settings are warnings', () => {
  const { DATABASE_URL: _, ...env } = PRODUCTION
  const risky = {
    ...env,
    TRUST_PROXY: 'true',
    PUBLIC_URL: 'http://wa.example.com',
    META_GRAPH_URL: 'http://proxy.internal/v26.0',
  }

  expect(loadConfig(risky).warnings).toEqual([
    expect.stringMatching(/^TRUST_PROXY is true/),
    expect.stringMatching(/^DATABASE_URL is not set/),
    expect.stringMatching(/^PUBLIC_URL is not https/),
    expect.stringMatching(/^META_GRAPH_URL is not https/),
  ])
})

test('a proxy that ends TLS and is not trusted is a risk, because all clients have its address', () => {
  expect(loadConfig(HTTPS).warnings).toEqual([
    expect.stringMatching(/^PUBLIC_URL is https, but TRUST_PROXY is not set: .*lock the admin out.*set it/),
  ])
})

test.each(['1', 'uniquelocal', 'false', '0'])('TRUST_PROXY=%s is no risk', (TRUST_PROXY) => {
  expect(loadConfig({ ...HTTPS, TRUST_PROXY }).warnings).toEqual([])
})

test('TRUST_PROXY is no risk for a process without a server', () => {
  expect(loadConfig(HTTPS, { needsSecrets: false }).warnings).toEqual([])
})

test('on this machine alone no setting is a risk', () => {
  const env = { PUBLIC_URL: 'http://localhost:3000', DATA_DIR: createTempDirectory() }

  expect(loadConfig(env).warnings).toEqual([])
})
