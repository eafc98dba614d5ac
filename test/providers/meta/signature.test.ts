import { createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { isSignedByMeta } from '../../../src/providers/meta/signature.ts'
import { sign } from '../../support/meta-webhooks.ts'
import { providerWith } from '../../support/providers.ts'

const SECRET = 'app_secret'
const BODY = Buffer.from('{"object":"whatsapp_business_account","entry":[]}')

describe('isSignedByMeta', () => {
  test('accepts the known signature of a body with escaped characters', () => {
    const body = Buffer.from(String.raw`{"text":{"body":"caf\u00e9 \ud83d\ude00","url":"https:\/\/x"}}`)

    const header = 'sha256=ec736a4be0645d46b12686f38c0349151e13dc872c56eef35ea646308185beef'

    expect(isSignedByMeta(body, header, [SECRET])).toBe(true)
  })

  test('refuses that body after a JSON library wrote it again', () => {
    const original = String.raw`{"text":{"body":"caf\u00e9 \ud83d\ude00","url":"https:\/\/x"}}`
    const rewritten = JSON.stringify(JSON.parse(original))

    expect(isSignedByMeta(Buffer.from(rewritten), sign(original, SECRET), [SECRET])).toBe(false)
  })

  test.each([
    ['raw non-ASCII characters', Buffer.from('{"text":"grüß dich 👋"}')],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
    ['no bytes at all', Buffer.alloc(0)],
  ])('signs the bytes of a body with %s', (_, body) => {
    expect(isSignedByMeta(body, sign(body, SECRET), [SECRET])).toBe(true)
    expect(isSignedByMeta(Buffer.concat([body, Buffer.from(' ')]), sign(body, SECRET), [SECRET])).toBe(false)
  })

  test('accepts every one of several secrets, and no other', () => {
    const secrets = ['old-secret', SECRET, 'other-app']

    for (const secret of secrets) expect(isSignedByMeta(BODY, sign(BODY, secret), secrets)).toBe(true)
    expect(isSignedByMeta(BODY, sign(BODY, 'foreign'), secrets)).toBe(false)
  })

  const hex = sign(BODY, SECRET).slice('sha256='.length)
  const good = `sha256=${hex}`
  test.each<[string, string | string[] | undefined]>([
    ['missing', undefined],
    ['empty', ''],
    ['the digest alone', hex],
    ['too short', good.slice(0, -1)],
    ['too long', `${good}0`],
    ['upper-case hex', `sha256=${hex.toUpperCase()}`],
    ['an upper-case scheme', `SHA256=${hex}`],
    ['not hex', `sha256=${'z'.repeat(64)}`],
    ['the digest twice, as Node joins repeated headers', `${good}, ${good}`],
    ['an array', [good, good]],
    ['an array of one', [good]],
    ['preceded by another line', `x\n${good}`],
    ['letters beyond f', `sha256=${hex.slice(0, -1)}g`],
    ['surrounded by spaces', ` ${good} `],
    ['followed by a line break', `${good}\n`],
    ['the old SHA-1 scheme', `sha1=${createHmac('sha1', SECRET).update(BODY).digest('hex')}`],
    ['another digest', `sha256=${'0'.repeat(64)}`],
  ])('refuses a header that is %s', (_, header) => {
    expect(isSignedByMeta(BODY, header, [SECRET])).toBe(false)
  })

  test('refuses a digest with one character changed, whichever it is', () => {
    for (let at = 0; at < hex.length; at++) {
      const other = hex[at] === '0' ? '1' : '0'
      const header = `sha256=${hex.slice(0, at)}${other}${hex.slice(at + 1)}`
      expect([at, isSignedByMeta(BODY, header, [SECRET])]).toEqual([at, false])
    }
  })

  test('refuses a secret with one character changed, added or left out', () => {
    for (const secret of ['app_secreT', 'App_secret', 'app_secre', 'app_secrets', ' app_secret'])
      expect([secret, isSignedByMeta(BODY, sign(BODY, secret), [SECRET])]).toEqual([secret, false])
  })

  test('accepts a webhook that several equal secrets have signed', () => {
    expect(isSignedByMeta(BODY, good, [SECRET, SECRET])).toBe(true)
  })

  test('refuses everything without a secret, and under an empty one', () => {
    expect(isSignedByMeta(BODY, sign(BODY, SECRET), [])).toBe(false)
    for (const secrets of [[''], ['', SECRET], [SECRET, '']]) {
      expect(isSignedByMeta(BODY, sign(BODY, ''), secrets)).toBe(false)
      expect(isSignedByMeta(BODY, good, secrets)).toBe(secrets.includes(SECRET))
    }
  })
})

describe('the provider', () => {
  const provider = providerWith('meta', { META_APP_SECRET: SECRET })
  const webhook = { rawBody: BODY, url: '/webhooks/meta', received_at: 0 }

  test('reads the signature from X-Hub-Signature-256', () => {
    expect(provider.isAuthentic({ ...webhook, headers: { 'x-hub-signature-256': good() } })).toBe(true)
    expect(provider.isAuthentic({ ...webhook, headers: { 'x-hub-signature': good() } })).toBe(false)
    expect(provider.isAuthentic({ ...webhook, headers: {} })).toBe(false)
  })

  function good() {
    return sign(BODY, SECRET)
  }
})
