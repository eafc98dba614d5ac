import { expect, test } from 'vitest'
import { findMisspellings } from '../../src/config/misspellings.ts'
import { describeVariables } from '../../src/config/variables.ts'

const known = describeVariables().map(({ name }) => name)

test.each([
  ['META_APP_SECRETS', 'META_APP_SECRET'],
  ['META_SECRET', 'META_APP_SECRET'],
  ['META_VERIFY', 'META_VERIFY_TOKEN'],
  ['TWILIO_TOKEN', 'TWILIO_AUTH_TOKEN'],
  ['TWILIO_SID', 'TWILIO_ACCOUNT_SID'],
  ['ADMIN_PASWORD', 'ADMIN_PASSWORD'],
  ['API_TOKEN', 'API_TOKENS'],
  ['REDIS_SENTINEL', 'REDIS_SENTINELS'],
  ['DATABASE_URI', 'DATABASE_URL'],
  ['log_level', 'LOG_LEVEL'],
])('%s was meant as %s', (name, meant) => {
  expect(findMisspellings([name], known)).toEqual([`${name} is not known: did you mean ${meant}?`])
})

test.each([
  'REDIS_PORT',
  'REDIS_SERVICE_HOST',
  'DATABASE_URL_STAGING',
  'TWILIO_API_KEY_SECRET',
  'META_APP_ID',
  'HOSTNAME',
  'PORTS',
  'PATH',
])('%s belongs to another program', (name) => {
  expect(findMisspellings([name], known)).toEqual([])
})
