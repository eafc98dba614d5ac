import { beforeEach, describe, expect, test } from 'vitest'
import {
  HistoryError,
  type HistoryErrorKind,
  type HistoryPage,
} from '../../../src/providers/message-history.ts'
import { twilioClient } from '../../support/backfilling.ts'
import { cleanUp } from '../../support/clean-up.ts'
import type { Behaviour } from '../../support/fake-server.ts'
import {
  type FakeTwilio,
  startFakeTwilio,
  TWILIO_SENDING_ACCOUNT,
  twilioError,
} from '../../support/fake-twilio.ts'
import { TWILIO_AUTH_TOKEN } from '../../support/twilio-webhooks.ts'

let twilio: FakeTwilio

beforeEach(async () => {
  twilio = await startFakeTwilio({ behavioursFor: 'reads' })
})

const today = () => new Date().toISOString().slice(0, 10)
const readPage = (cursor?: string, signal = new AbortController().signal): Promise<HistoryPage> =>
  twilioClient(twilio.url).history.readPage({ day: today(), cursor }, signal)
const failure = async (): Promise<{ kind: HistoryErrorKind; message: string }> => {
  const err = await readPage().then(
    () => undefined,
    (err: unknown) => err,
  )
  if (err instanceof HistoryError) return { kind: err.kind, message: err.message }
  throw new Error(`no HistoryError: ${err}`)
}
const page =
  (next_page_uri: unknown): Behaviour =>
  (_, exchange) =>
    exchange.answer(200, { messages: [], next_page_uri })

describe('paging', () => {
  test('a day in pages, newest first, each entry once', async () => {
    const now = Date.parse(`${today()}T23:00:00Z`)
    for (let index = 0; index < 130; index++) {
      const date = new Date(now - index * 1_000).toUTCString()
      twilio.put({ date_created: date, date_sent: date })
    }

    const first = await readPage()
    const second = await readPage(first.next)

    const read = [...first.messages, ...second.messages].map(({ wa_message_id }) => wa_message_id)
    expect(read).toEqual(twilio.messages.map(({ sid }) => sid))
    expect(second.next).toBeUndefined()
    expect(first.newest).toEqual(new Date(now))
  })

  test('an entry that has no place in the order yet says nothing of how far the page goes back', async () => {
    twilio.put({ date_created: new Date(`${today()}T00:00:00Z`).toUTCString(), date_sent: null })

    expect((await readPage()).newest).toBeUndefined()
  })

  test('asks with the credentials of the account', async () => {
    await readPage()

    const basic = Buffer.from(`${TWILIO_SENDING_ACCOUNT}:${TWILIO_AUTH_TOKEN}`).toString('base64')
    expect(twilio.calls).toMatchObject([
      {
        path: `/2010-04-01/Accounts/${TWILIO_SENDING_ACCOUNT}/Messages.json?DateSent=${today()}&PageSize=100`,
        headers: { authorization: `Basic ${basic}` },
      },
    ])
  })

  test('follows the next page also where it is a whole address of the same origin', async () => {
    twilio.next(page(`${twilio.url}/2010-04-01/next`))

    expect(await readPage()).toMatchObject({ next: '/2010-04-01/next' })
  })

  test.each(['https://elsewhere.example/next', '@elsewhere.example/next', '.elsewhere.example/', 'next'])(
    'gives the credentials to nobody else: %s is not followed',
    async (next) => {
      twilio.next(page(next))

      expect(await failure()).toMatchObject({ kind: 'unexpected' })
    },
  )

  test('//elsewhere is a path of Twilio', async () => {
    twilio.next(page('//elsewhere.example/next'))
    const { next } = await readPage()
    await readPage(next)

    expect(twilio.calls.at(-1)?.path).toBe('//elsewhere.example/next')
  })
})

describe('an answer that is not the list', () => {
  test.each([
    [
      twilioError(20003, { status: 401, message: 'Authenticate' }),
      'credentials',
      /20003: Authenticate.*TWILIO_AUTH_TOKEN/,
    ],
    [
      twilioError(20403, { status: 403, message: 'suspended' }),
      'credentials',
      /HTTP 403.*TWILIO_ACCOUNT_SID/,
    ],
    [
      twilioError(20404, { status: 404, message: 'not found' }),
      'credentials',
      /no account AC.*TWILIO_ACCOUNT_SID/,
    ],
    [twilioError(20001), 'unexpected', /20001: refused/],
    [(_, exchange) => exchange.answer(200, '<html>'), 'unexpected', /TWILIO_API_URL/],
    [(_, exchange) => exchange.answer(302, ''), 'unexpected', /HTTP 302/],
  ] satisfies [Behaviour, HistoryErrorKind, RegExp][])(
    '%# says what to do, at once',
    async (behaviour, kind, words) => {
      twilio.next(behaviour)

      expect(await failure()).toEqual({ kind, message: expect.stringMatching(words) })

      expect(twilio.calls).toHaveLength(1)
    },
  )

  test('that passes is waited out: too many requests, a server error, a cut connection', async () => {
    twilio.next(
      (_, exchange) => exchange.answer(429, { code: 20429, message: 'Too many' }, { 'retry-after': '1' }),
      (_, exchange) => exchange.answer(503, ''),
      (_, exchange) => exchange.cutAnswer(),
    )
    const startedAt = Date.now()

    expect(await readPage()).toMatchObject({ messages: [] })

    expect(twilio.calls).toHaveLength(4)
    const [first, second] = twilio.calls.map(({ at }) => at)
    expect(Number(second) - Number(first)).toBeGreaterThanOrEqual(1_000)
    expect(Date.now() - startedAt).toBeLessThan(10_000)
  })

  test('and asks for more patience than a minute: told, not waited for', async () => {
    twilio.next((_, exchange) => exchange.answer(429, {}, { 'retry-after': '600' }))

    expect(await failure()).toEqual({ kind: 'rate_limit', message: expect.stringContaining('in 600 s') })
  })

  test('nobody there: told after some tries, without the credentials', async () => {
    await twilio.refuse()
    cleanUp(() => twilio.listen())

    const { kind, message } = await failure()

    expect(kind).toBe('unreachable')
    expect(message).toMatch(/cannot be reached \(ECONNREFUSED.*TWILIO_API_URL/)
    expect(message).not.toContain(TWILIO_AUTH_TOKEN)
  })

  test('stops waiting when it is told to', async () => {
    twilio.always((_, exchange) => exchange.answer(429, {}, { 'retry-after': '30' }))
    const stop = new AbortController()
    const reading = readPage(undefined, stop.signal).catch((err: unknown) => err)
    while (twilio.calls.length === 0) await new Promise(setImmediate)
    const startedAt = Date.now()

    stop.abort()

    expect(await reading).toBeInstanceOf(HistoryError)
    expect(Date.now() - startedAt).toBeLessThan(5_000)
  })
})

describe('files', () => {
  const readContent = () => {
    const { history } = twilioClient(twilio.url)
    return readPage().then(({ messages: [message] }) => {
      if (message === undefined) throw new Error('there is no message')
      return history.readContent(message, new AbortController().signal)
    })
  }

  test('a refused list of files is no reason to lose the message, a refused account is', async () => {
    const date = new Date(Date.parse(`${today()}T00:00:00Z`)).toUTCString()
    twilio.put({ num_media: '1', body: 'plan.pdf', date_created: date, date_sent: date })
    const list: Behaviour = (_, exchange) => exchange.succeed()

    twilio.next(list, twilioError(20404, { status: 404 }))
    expect(await readContent()).toEqual({ message_type: 'document', content: 'plan.pdf', media: [] })
    twilio.next(list, twilioError(20003, { status: 401 }))
    await expect(readContent()).rejects.toThrow(HistoryError)
  })

  test('the name of a document is its text, as in a webhook', async () => {
    const date = new Date(Date.parse(`${today()}T00:00:00Z`)).toUTCString()
    const { sid } = twilio.put({ num_media: '1', body: 'plan.pdf', date_created: date, date_sent: date })
    twilio.files.set(sid, [{ sid: `ME${'4'.repeat(32)}`, content_type: 'application/pdf' }])

    expect(await readContent()).toMatchObject({
      message_type: 'document',
      media: [{ id: `ME${'4'.repeat(32)}`, filename: 'plan.pdf', mime_type: 'application/pdf' }],
    })
  })
})
