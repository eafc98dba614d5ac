import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks.js'
import { describe, expect, test } from 'vitest'
import type { IncomingWebhook } from '../../../src/providers/provider.ts'
import { isSignedByTwilio, twilioSignature } from '../../../src/providers/twilio/signature.ts'
import { anyText } from '../../support/any-text.ts'
import {
  encodeTwilioForm,
  TWILIO_AUTH_TOKEN,
  TWILIO_PATH,
  TWILIO_PUBLIC_URL,
  twilioJsonWebhook,
  twilioMessage,
  twilioWebhook,
} from '../../support/twilio-webhooks.ts'

const SETTINGS = { authTokens: [TWILIO_AUTH_TOKEN], publicUrl: TWILIO_PUBLIC_URL }

describe('the vectors that Twilio publishes', () => {
  const call = {
    CallSid: 'CA1234567890ABCDE',
    Caller: '+12349013030',
    Digits: '1234',
    From: '+12349013030',
    To: '+18005551212',
  }

  test.each([
    ['/myapp', '3KI2uRuYyAdhZIJXcpU0izDUzWI='],
    ['/myapp.php?foo=1&bar=2', '0/KCTR6DLpKmkAf8muzZqo1nDgQ='],
  ])('https://mycompany.com%s', (url, signature) => {
    const webhook = request(url, encodeTwilioForm(call), signature)
    const settings = { authTokens: ['12345'], publicUrl: 'https://mycompany.com' }

    expect(isSignedByTwilio(webhook, settings)).toBe(true)
    expect(twilioSignature('12345', `https://mycompany.com${url}`, webhook.rawBody)).toBe(signature)
    expect(isSignedByTwilio(webhook, { ...settings, authTokens: ['12346'] })).toBe(false)
  })
})

describe('the URL', () => {
  test.each([
    'https://hooks.example.com/webhooks/twilio',
    'https://hooks.example.com:443/webhooks/twilio',
    'https://hooks.example.com:8443/webhooks/twilio',
  ])('counts as the same with, without and with another port: configured as %s', (publicUrl) => {
    for (const signedUrl of ['https://hooks.example.com', 'https://hooks.example.com:443']) {
      const webhook = twilioWebhook(twilioMessage(), { publicUrl: signedUrl })
      const isSamePort = !publicUrl.includes(':8443') || signedUrl === 'https://hooks.example.com'
      expect(isSignedByTwilio(webhook, { ...SETTINGS, publicUrl })).toBe(isSamePort)
    }
  })

  test('may carry the user and password that Twilio was told to use', () => {
    const publicUrl = 'https://twilio:secret@hooks.example.com'
    const webhook = twilioWebhook(twilioMessage(), { publicUrl })

    expect(isSignedByTwilio(webhook, { ...SETTINGS, publicUrl: `${publicUrl}/` })).toBe(true)
    expect(isSignedByTwilio(webhook, SETTINGS)).toBe(false)
  })

  test('may have a path in front that the proxy takes off', () => {
    const webhook = twilioWebhook(twilioMessage(), { publicUrl: 'https://hooks.example.com/wa' })

    const settings = { ...SETTINGS, publicUrl: 'https://hooks.example.com/wa/' }
    expect(isSignedByTwilio(webhook, settings)).toBe(true)
    expect(isSignedByTwilio(webhook, SETTINGS)).toBe(false)
  })

  test('counts with its query, in the order and spelling of the request', () => {
    const url = `${TWILIO_PATH}?b=2&a=%27x%27&b=1`
    const webhook = twilioWebhook(twilioMessage(), { url })

    expect(isSignedByTwilio(webhook, SETTINGS)).toBe(true)
    expect(isSignedByTwilio({ ...webhook, url: `${TWILIO_PATH}?a=%27x%27&b=2&b=1` }, SETTINGS)).toBe(false)
    expect(isSignedByTwilio({ ...webhook, url: TWILIO_PATH }, SETTINGS)).toBe(false)
  })

  test('counts without the fragment that holds connection overrides', () => {
    const webhook = twilioWebhook(twilioMessage())

    expect(isSignedByTwilio({ ...webhook, url: `${TWILIO_PATH}#rc=5&rp=all` }, SETTINGS)).toBe(true)
    const publicUrl = `${TWILIO_PUBLIC_URL}/#rc=5`
    expect(isSignedByTwilio(webhook, { ...SETTINGS, publicUrl })).toBe(true)
  })

  test('may be named whole in the first line of the request', () => {
    const webhook = twilioWebhook(twilioMessage(), { url: `${TWILIO_PATH}?x=1` })

    const url = `http://10.0.0.7:3000${TWILIO_PATH}?x=1`
    expect(isSignedByTwilio({ ...webhook, url }, SETTINGS)).toBe(true)
  })

  test('comes from PUBLIC_URL alone where that is set, whatever the Host header says', () => {
    const webhook = twilioWebhook(twilioMessage(), { publicUrl: 'https://elsewhere.example.com' })

    expect(isSignedByTwilio(webhook, SETTINGS)).toBe(false)
    expect(isSignedByTwilio(webhook, { authTokens: SETTINGS.authTokens })).toBe(true)
  })

  test.each(['http', 'https'])('is put together from the Host header without PUBLIC_URL: %s', (scheme) => {
    const webhook = twilioWebhook(twilioMessage(), { publicUrl: `${scheme}://tunnel.example.com:8080` })

    expect(isSignedByTwilio(webhook, { authTokens: [TWILIO_AUTH_TOKEN] })).toBe(true)
  })

  test('takes X-Forwarded-Host from a trusted proxy only', () => {
    const webhook = twilioWebhook(twilioMessage())
    const headers = {
      ...webhook.headers,
      host: '10.0.0.7:3000',
      'x-forwarded-host': 'hooks.example.com, inner',
    }

    const settings = { authTokens: [TWILIO_AUTH_TOKEN] }
    expect(isSignedByTwilio({ ...webhook, headers }, { ...settings, trustProxy: true })).toBe(true)
    expect(isSignedByTwilio({ ...webhook, headers }, settings)).toBe(false)
  })
})

describe('the fields', () => {
  test('count with each value of a repeated field once, in sorted order', () => {
    const once = twilioWebhook(Buffer.from('Tag=b&Tag=a&Body=x'))

    const again = { ...once, rawBody: Buffer.from('Body=x&Tag=a&Tag=b&Tag=a') }
    expect(isSignedByTwilio(again, SETTINGS)).toBe(true)
    expect(isSignedByTwilio({ ...once, rawBody: Buffer.from('Body=x&Tag=a') }, SETTINGS)).toBe(false)
  })

  test('count decoded and untrimmed', () => {
    const webhook = twilioWebhook(twilioMessage({ Body: '  caf\u00e9 & \u{1F600}+\n' }))

    expect(webhook.rawBody.toString()).toContain('Body=++caf%C3%A9+%26+%F0%9F%98%80%2B%0A')
    expect(isSignedByTwilio(webhook, SETTINGS)).toBe(true)
    const trimmed = encodeTwilioForm(twilioMessage({ Body: 'caf\u00e9 & \u{1F600}+' }))
    expect(isSignedByTwilio({ ...webhook, rawBody: trimmed }, SETTINGS)).toBe(false)
  })

  test('count under names that a JavaScript object would trip over', () => {
    const names = ['__proto__', 'constructor', 'hasOwnProperty', 'toString', '10', '9']
    const body = names.map((name) => `${name}=1`).join('&')
    const signed = `${TWILIO_PUBLIC_URL}${TWILIO_PATH}10191__proto__1constructor1hasOwnProperty1toString1`
    const signature = getExpectedTwilioSignature(TWILIO_AUTH_TOKEN, signed, {})

    expect(isSignedByTwilio(request(TWILIO_PATH, Buffer.from(body), signature), SETTINGS)).toBe(true)
  })

  test('are refused without sorting them where there are more than 10,000', () => {
    const bodies = [9_999, 10_000, 10_001].map((count) => Buffer.from(Array(count).fill('a=1').join('&')))
    const signatures = ['', 'a1'].map((fields) =>
      getExpectedTwilioSignature(TWILIO_AUTH_TOKEN, `${TWILIO_PUBLIC_URL}${TWILIO_PATH}${fields}`, {}),
    )

    const isSigned = (body: Buffer, signature: string) =>
      isSignedByTwilio(request(TWILIO_PATH, body, signature), SETTINGS)
    expect(bodies.map((body) => signatures.map((signature) => isSigned(body, signature)))).toEqual([
      [false, true],
      [false, true],
      [false, false],
    ])
  })

  test('are none where the body is empty, or its only field has neither name nor value', () => {
    const signature = getExpectedTwilioSignature(TWILIO_AUTH_TOKEN, TWILIO_PUBLIC_URL + TWILIO_PATH, {})

    for (const [body, isSigned] of [
      ['', true],
      ['=', true],
      ['a', false],
      ['=a', false],
    ] as const)
      expect([body, isSignedByTwilio(request(TWILIO_PATH, Buffer.from(body), signature), SETTINGS)]).toEqual([
        body,
        isSigned,
      ])
  })
})

describe('a JSON body', () => {
  const webhook = twilioJsonWebhook([{ type: 'com.twilio.messaging.message.sent', data: { n: 1 } }])

  test('is signed by its digest in the URL', () => {
    expect(isSignedByTwilio(webhook, SETTINGS)).toBe(true)
  })

  test('is refused when a byte of it changed, or the digest did', () => {
    const changed = Buffer.from(webhook.rawBody.toString().replace('1', '2'))

    expect(isSignedByTwilio({ ...webhook, rawBody: changed }, SETTINGS)).toBe(false)
    const digest = createHash('sha256').update(changed).digest('hex')
    const url = webhook.url.replace(/[0-9a-f]{64}/, digest)
    expect(isSignedByTwilio({ ...webhook, rawBody: changed, url }, SETTINGS)).toBe(false)
  })

  test('is refused when its digest is missing, short or in upper case', () => {
    const url = `${TWILIO_PATH}?bodySHA256=`
    for (const digest of ['', 'ab', webhook.url.slice(-64).toUpperCase()]) {
      const forged = request(
        url + digest,
        webhook.rawBody,
        getExpectedTwilioSignature(TWILIO_AUTH_TOKEN, TWILIO_PUBLIC_URL + url + digest, {}),
      )
      expect(isSignedByTwilio(forged, SETTINGS)).toBe(false)
    }
  })
})

describe('what is no signature', () => {
  const webhook = twilioWebhook(twilioMessage())
  const signature = String(webhook.headers['x-twilio-signature'])

  test.each<[string, string | string[] | undefined]>([
    ['nothing', undefined],
    ['an empty text', ''],
    ['an array', [signature]],
    ['one with a line break behind', `${signature}\n`],
    ['one without its last character', signature.slice(0, -1)],
    ['a shorter one', signature.slice(0, -2)],
    ['a longer one', `${signature}=`],
    ['one in lower case', signature.toLowerCase()],
    ['one of the same length', `${'A'.repeat(27)}=`],
    ['one with a space in front', ` ${signature}`],
    ['two joined by a comma', `${signature}, ${signature}`],
    ['characters outside of base64', `${'\u00e9'.repeat(27)}=`],
  ])('%s', (_, header) => {
    const headers = { ...webhook.headers, 'x-twilio-signature': header }
    expect(isSignedByTwilio({ ...webhook, headers }, SETTINGS)).toBe(false)
  })

  test('one with a character changed, whichever it is', () => {
    for (let at = 0; at < signature.length - 1; at++) {
      const other = signature[at] === 'A' ? 'B' : 'A'
      const header = `${signature.slice(0, at)}${other}${signature.slice(at + 1)}`
      const headers = { ...webhook.headers, 'x-twilio-signature': header }
      expect([at, isSignedByTwilio({ ...webhook, headers }, SETTINGS)]).toEqual([at, false])
    }
  })

  test('is any under a token that is empty, also beside others', () => {
    const forged = twilioWebhook(twilioMessage(), { authToken: '' })

    for (const authTokens of [[''], ['', TWILIO_AUTH_TOKEN], [TWILIO_AUTH_TOKEN, '']]) {
      expect(isSignedByTwilio(forged, { ...SETTINGS, authTokens })).toBe(false)
      expect(isSignedByTwilio(webhook, { ...SETTINGS, authTokens })).toBe(
        authTokens.includes(TWILIO_AUTH_TOKEN),
      )
    }
  })

  test('is any of an account that is not set up, without a look at the body', () => {
    const unread = {
      ...webhook,
      get rawBody(): Buffer {
        throw new Error('the body was read')
      },
    }

    for (const authTokens of [[], ['']])
      expect(isSignedByTwilio(unread, { ...SETTINGS, authTokens })).toBe(false)
  })

  test('never throws, whatever header, URL, host and body are', () => {
    const anything = fc.record({
      signature: fc.oneof(anyText(), fc.constant(signature)),
      host: fc.option(anyText(), { nil: undefined }),
      url: fc.oneof(anyText(), fc.webPath({ size: 'small' }), fc.constant('?bodySHA256=')),
      publicUrl: fc.option(fc.oneof(anyText(), fc.webUrl()), { nil: undefined }),
      body: fc.uint8Array({ maxLength: 200 }),
    })
    fc.assert(
      fc.property(anything, ({ signature, host, url, publicUrl, body }) => {
        const forged: IncomingWebhook = {
          rawBody: Buffer.from(body),
          headers: { host, 'x-twilio-signature': signature },
          url,
          received_at: 0,
        }
        expect(isSignedByTwilio(forged, { authTokens: [TWILIO_AUTH_TOKEN], publicUrl })).toBe(false)
      }),
    )
  })
})

test('any of several tokens signs: subaccounts, and both sides of a rotation', () => {
  const authTokens = [
    'old00000000000000000000000000000',
    TWILIO_AUTH_TOKEN,
    'sub00000000000000000000000000000',
  ]
  for (const authToken of authTokens) {
    const webhook = twilioWebhook(twilioMessage(), { authToken })
    expect(isSignedByTwilio(webhook, { ...SETTINGS, authTokens })).toBe(true)
  }
})

function request(url: string, rawBody: Buffer, signature: string, host?: string): IncomingWebhook {
  return { rawBody, headers: { host, 'x-twilio-signature': signature }, url, received_at: 0 }
}
