import { beforeAll, expect, test, vi } from 'vitest'
import type { SendResult } from '../../src/core/outbound.ts'
import { SEND_CALL } from '../../src/core/send-policy.ts'
import { type Claim, claimNext } from '../../src/db/outbox/claim.ts'
import { sendConversation } from '../../src/worker/send-conversation.ts'
import { type SendReport, sendMessage } from '../../src/worker/send-message.ts'
import { BACKENDS } from '../support/backends.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { holdLock } from '../support/held-lock.ts'
import { orderText } from '../support/outbound.ts'
import { type Sending, startSending } from '../support/sending.ts'

let sending: Sending
let phones = 15551230000

beforeAll(async () => {
  sending = await startSending(BACKENDS[0])
})

const order = () => orderText(sending.db, 'Hello', { to: { phone: String(++phones) } })
/** The number may have no token yet. */
const claim = (id: string): Promise<Claim> =>
  eventually(async () => {
    const outcome = await claimNext(sending.db, id)
    if (outcome.kind !== 'claimed') throw new Error(`not claimed: ${outcome.kind}`)
    return outcome.claim
  })
const deps = (cutOff = new AbortController().signal) => ({
  db: sending.db,
  senders: sending.senders,
  findMissingCredential: () => undefined,
  cutOff,
  onUnrecorded: () => {},
})

test('a worker that stood still after its claim does not call: the sweep may have given the message up', async () => {
  const claimed = await claim(await order())
  const claimedAt = performance.now() - SEND_CALL.maxClaimAgeMs - 1

  expect(await sendMessage(deps(), claimed, claimedAt)).toMatchObject({
    code: 'not_called',
    outcome: 'queued',
  })
  expect(sending.meta.sent()).toEqual([])

  // The message can be claimed again at once.
  const again = await claim(claimed.message.message_id)
  await sendMessage(deps(), again, performance.now())
  expect(sending.meta.sent()).toHaveLength(1)
})

test('a worker that stood still during its claim does not call with it either, and claims again', async () => {
  const calls = sending.meta.sent().length
  const id = await order()
  const reports: SendReport[] = []
  const lock = await holdLock(sending.database, 'SELECT FROM conversations FOR UPDATE')
  const conversation = { conversation_id: '', provider: 'meta', business_number: '', message_id: id }

  const ended = sendConversation(
    {
      ...deps(),
      uploadFolder: sending.uploadFolder,
      stop: new AbortController().signal,
      onSend: (report) => reports.push(report),
      onCopy: () => {},
      onUnsendable: () => {},
      requestCopy: () => {},
    },
    conversation,
    {
      reportAnswer: () => {},
      reportDoubt: () => {},
      mayWaitForToken: () => true,
      endWaitForToken: () => {},
      dropWaiting: () => {},
    },
  )
  await lock.reached()
  const now = performance.now.bind(performance)
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + SEND_CALL.maxClaimAgeMs + 1)
  cleanUp(() => clock.mockRestore())
  await lock.release()
  await ended

  expect(reports).toMatchObject([
    { attempt: 1, code: 'not_called', outcome: 'queued' },
    { attempt: 2, outcome: 'accepted' },
  ])
  expect(sending.meta.sent()).toHaveLength(calls + 1)
})

test('a worker that is ending does not call', async () => {
  const calls = sending.meta.sent().length

  const report = await sendMessage(deps(AbortSignal.abort()), await claim(await order()), performance.now())

  expect(report).toMatchObject({ code: 'not_called', outcome: 'queued' })
  expect(sending.meta.sent()).toHaveLength(calls)
})

test.each<[string, boolean, number]>([
  ['the worker ended', true, 0],
  ['the provider did not answer', false, 1],
])(
  'a call that %s: counts against the provider only when it is the provider',
  async (_, isCutOff, doubts) => {
    await sending.database.pool.query('DELETE FROM send_doubts')
    const cutOff = new AbortController()
    const result: SendResult = { kind: 'unknown', error: { code: 'timeout', message: 'no answer' } }
    const sender = {
      ...sending.senders.meta,
      send: async () => {
        if (isCutOff) cutOff.abort()
        return result
      },
    }
    const senders = { meta: sender } as unknown as Sending['senders']

    const report = await sendMessage(
      { ...deps(cutOff.signal), senders },
      await claim(await order()),
      performance.now(),
    )

    expect(report.outcome).toBe('unknown')
    const { rows } = await sending.database.pool.query('SELECT in_a_row FROM send_doubts')
    expect(rows).toHaveLength(doubts)
  },
)
