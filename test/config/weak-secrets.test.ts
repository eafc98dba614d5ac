import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { variablesWith } from '../../src/config/variables.ts'
import { findWeakSecrets, whyWeak } from '../../src/config/weak-secrets.ts'
import { PROVIDERS } from '../../src/providers/index.ts'

const VARIABLES = variablesWith(PROVIDERS)

const GOOD = {
  META_APP_SECRET: '0f3a9c517be24d68a1c05e7f9b2d4836',
  META_VERIFY_TOKEN: 'our-own-words-here-1',
  TWILIO_AUTH_TOKEN: 'c81e728d9d4c2f636f067f89cc14862c',
  API_TOKENS: 'gateway-3fe1c09bb2, reports-77ab10e2c4',
  METRICS_TOKEN: 'prometheus-5a1cc0de',
  ADMIN_PASSWORD: 'correct horse battery',
}

describe('strong secrets', () => {
  test('are accepted', () => {
    expect(findWeakSecrets(GOOD, VARIABLES)).toEqual([])
  })

  test('are accepted whatever a random generator gives', () => {
    const rolled = ['hex', 'base64', 'base64url'] as const
    const values = rolled.flatMap((encoding) =>
      Array.from({ length: 300 }, () => randomBytes(12).toString(encoding)),
    )

    expect(values.filter((value) => whyWeak(value, 12) !== undefined)).toEqual([])
  })

  test.each(['2a7a01b7c788d5e5f6093047', '5aa28521bc81d0755e4235f8501330a7', 'ZDR5KdA27FTMEgTODOuj'])(
    '%s is random, although some of it looks like a word',
    (value) => {
      expect(whyWeak(value, 12)).toBeUndefined()
    },
  )

  test.each([
    'zinc parrot envelope',
    'НадёжныйПароль2',
    '今日は良い天気ですねとても嬉しい',
    'maple-river-91',
    'aaabkw7fQ2mzL',
  ])('%s is accepted: no kind of character is required', (value) => {
    expect(whyWeak(value, 12)).toBeUndefined()
  })
})

describe('weak secrets', () => {
  test.each([
    ['ADMIN_PASSWORD', 'elevenchars'],
    ['META_APP_SECRET', 'abc123'],
    ['API_TOKENS', 'gateway-3fe1c09bb2, short'],
    ['METRICS_TOKEN', 'metrics-token'],
    ['TWILIO_AUTH_TOKEN', 'k3j1n2'],
    ['META_VERIFY_TOKEN', 'zebra'],
  ] as const)('%s that is too short is named, with its length and the next step', (name, value) => {
    expect(findWeakSecrets({ ...GOOD, [name]: value }, VARIABLES)).toEqual([
      expect.stringMatching(new RegExp(`^${name} is too short: it needs at least \\d+ characters; \\S`)),
    ])
  })

  test.each([
    'change-me-please',
    'CHANGEME_CHANGEME',
    '<your app secret>',
    'your_app_secret_from_meta',
    `\${META_APP_SECRET}`,
    'xxxxxxxxxxxxxxxxxxxxxxxxxxxx',
    'put-the-secret-here',
    'replace this with a secret',
    'todo-before-launch',
  ])('%s is the placeholder of an example', (value) => {
    expect(whyWeak(value, 12)).toMatch(/example/)
  })

  test.each([
    'password1234',
    'Passw0rd!2026',
    'P@ssw0rd2026',
    'passwordpassword',
    'admin1234567',
    'administrator',
    'Administrator1!',
    'welcome2026!!',
    'Summer2026!!!',
    'letmein-letmein',
    'wa-ingest-admin',
    'WhatsApp-Dashboard-1',
    'iloveyou1234',
    'superman-batman',
    'my-secret-password',
  ])('%s is guessed first', (value) => {
    expect(whyWeak(value, 12)).toMatch(/guessed first/)
  })

  test.each([
    '123456789012',
    '0987654321098',
    'aaaaaaaaaaaaaaaa',
    'abcabcabcabc',
    'abc123abc123',
    'qwertyuiop12',
    'qwertyuiop12345',
    '1q2w3e4r5t6y',
    '1qaz2wsx3edc',
    'asdfghjkl1234',
    'abcdefghijklmnop',
    'zyxwvutsrqpo',
  ])('%s is a repetition or a row', (value) => {
    expect(whyWeak(value, 12)).toMatch(/guessed first/)
  })

  test("the admin's own name is weak", () => {
    const set = { ...GOOD, ADMIN_USER: 'Frederica', ADMIN_PASSWORD: 'frederica2026' }

    expect(findWeakSecrets(set, VARIABLES)).toEqual([
      expect.stringMatching(/^ADMIN_PASSWORD is made of words/),
    ])
  })

  test('no message repeats the value', () => {
    const weak = Object.fromEntries(Object.keys(GOOD).map((name) => [name, 'changeme-hush']))

    const lines = findWeakSecrets(weak, VARIABLES)

    expect(lines).toHaveLength(Object.keys(GOOD).length)
    expect(lines.join()).not.toContain('hush')
  })
})
