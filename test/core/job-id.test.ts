import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  contentJobId,
  createJobIds,
  otherNumberJobId,
  ownJobId,
  readReceiptJobId,
  sendJobId,
} from '../../src/core/job-id.ts'
import { anyText } from '../support/any-text.ts'

const WAMID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQzQTdCNDlDQjk0RjA2MkE0RjZFMwA='
const SID = `SM${'0123456789abcdef'.repeat(2)}`

const jobIds = createJobIds('wamid\\.[A-Za-z0-9+/=_-]{1,480}|(?:SM|MM)[0-9a-fA-F]{32}')

/** BullMQ's own keys beside `<prefix>:<queue>:<job id>`; see src/core/job-id.ts. */
const KEYS_OF_BULLMQ = [
  'wait',
  'marker',
  'meta',
  'id',
  'events',
  'completed',
  'active',
  'delayed',
  'failed',
  'pc',
]

describe('job ids', () => {
  test.each([WAMID, SID, `MM${'AB12'.repeat(8)}`, 'wamid.abc-_='])('uses %s as it is', (id) => {
    expect(jobIds.message(id)).toBe(id)
  })

  test('composes the id of a status from its word, its message and, in groups, its participant', () => {
    expect(jobIds.status(WAMID, 'read')).toBe(`status.read.${WAMID}`)
    expect(jobIds.status(WAMID, 'read', '15550001234')).toBe(`status.read.${WAMID}.15550001234`)
    expect(jobIds.status(WAMID, 'read', 'US.ENT.123')).toBe(`status.read.${WAMID}.US.ENT.123`)
  })

  test('gives a message of standby an id of its own, beside that of the same message under `messages`', () => {
    expect(jobIds.standby(WAMID)).toBe(`standby.${WAMID}`)
  })

  test('gives an echo and a history message ids of their own', () => {
    expect(jobIds.echo(WAMID)).toBe(`echo.${WAMID}`)
    expect(jobIds.history(WAMID, 'media_placeholder')).toBe(`history.${WAMID}.media_placeholder`)
    expect(jobIds.history(WAMID, 'image')).not.toBe(jobIds.history(WAMID, 'media_placeholder'))
  })

  test.each([
    jobIds.message(WAMID),
    jobIds.message(SID),
    jobIds.message('a:b'),
    jobIds.status(WAMID, 'read', 'US.ENT.123'),
    jobIds.history(WAMID, 'image'),
  ])('finds the own id again in the one for another business number of %s', (id) => {
    expect(ownJobId(otherNumberJobId(id, '100200300'))).toBe(id)
    expect(ownJobId(otherNumberJobId(otherNumberJobId(id, '1'), '2'))).toBe(id)
    expect(ownJobId(id)).toBe(id)
    expect(otherNumberJobId(id, '1')).not.toBe(otherNumberJobId(id, '2'))
  })

  const inFront = [WAMID, SID].map((id) => ` ${id}`)
  const behind = [WAMID, SID].flatMap((id) => [`${id}\n`, `${id}:1`, `${id}.1`])
  const tooShortOrLong = ['', 'wamid.', `wamid.${'a'.repeat(481)}`, SID.slice(0, -1), `${SID}0`]
  test.each([...KEYS_OF_BULLMQ, '123', '0', 'a:b:c', 'wamid.a:b', ...tooShortOrLong, ...inFront, ...behind])(
    'hashes the message id %j in every job id',
    (id) => {
      expect(jobIds.message(id)).toMatch(/^message\.[0-9a-f]{64}$/)
      expect(jobIds.status(id, 'sent')).toMatch(/^status\.[0-9a-f]{64}$/)
      expect(jobIds.echo(id)).toMatch(/^echo\.[0-9a-f]{64}$/)
      expect(jobIds.standby(id)).toMatch(/^standby\.[0-9a-f]{64}$/)
      expect(jobIds.history(id, 'image')).toMatch(/^history\.[0-9a-f]{64}$/)
    },
  )

  test.each([
    ['se:nt', ''],
    ['SENT', ''],
    ['sent', 'a:b'],
    ['sent', 'group@x'],
    ['', ''],
  ])('hashes a status whose word or participant could do harm: %j %j', (word, participant) => {
    expect(jobIds.status(WAMID, word, participant)).toMatch(/^status\.[0-9a-f]{64}$/)
  })

  test.each([
    ['a word of 41 letters', 'a'.repeat(41), '', true],
    ['a word of 42 letters', 'a'.repeat(42), '', false],
    ['a word of one letter', 'a', '', true],
    ['a word that begins with _', '_sent', '', false],
    ['a word with a digit', 'sent2', '', false],
    ['a participant of one letter', 'read', 'a', true],
    ['a participant of every digit', 'read', '0123456789', true],
    ['a user id of every digit and the last letters', 'read', 'ZA.0123456789azAZ', true],
    ['a participant with an empty first part', 'read', '.US', false],
    ['a participant of 20 digits', 'read', '1'.repeat(20), true],
    ['a participant of 21 digits', 'read', '1'.repeat(21), false],
    ['a user id of 140 letters', 'read', `US.${'a'.repeat(140)}`, true],
    ['a user id of 141 letters', 'read', `US.${'a'.repeat(141)}`, false],
    ['a participant of three parts', 'read', 'US.ENT.1', true],
    ['a participant of four parts', 'read', 'US.ENT.1.2', false],
    ['a participant with an empty part', 'read', 'US.', false],
    ['a participant with a space', 'read', ' 15550101', false],
  ])('%s: whether it is used as it is', (_what, word, participant, isUsed) => {
    const raw = ['status', word, WAMID, ...(participant === '' ? [] : [participant])].join('.')
    const id = jobIds.status(WAMID, word, participant)
    expect(id.replace(/^status\.[0-9a-f]{64}$/, 'hashed')).toBe(isUsed ? raw : 'hashed')
  })

  test('stay the same from release to release, so that what waits on the queue is known again', () => {
    const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

    expect(jobIds.message('a:b')).toBe(`message.${sha256('3:a:b')}`)
    expect(jobIds.status('grüß', 'sent', '15550101')).toBe(`status.${sha256('6:grüß4:sent8:15550101')}`)
    expect(jobIds.status('a:b', 'sent')).toBe(`status.${sha256('3:a:b4:sent0:')}`)
    expect(jobIds.echo('a:b')).toBe(`echo.${sha256('3:a:b')}`)
    expect(jobIds.standby('a:b')).toBe(`standby.${sha256('3:a:b')}`)
    expect(jobIds.history(WAMID, 'a:b')).toBe(`history.${sha256(`${WAMID.length}:${WAMID}3:a:b`)}`)
    expect(contentJobId([])).toBe(`event.${sha256('')}`)
    expect(contentJobId(['a\ud800', 'b'])).toBe(`event.${sha256(String.raw`json "a\ud800"1:b`)}`)
    expect(otherNumberJobId('echo.x', '100200300')).toBe(
      `echo.x.number-${createHash('sha1').update('"100200300"').digest('hex')}`,
    )
    expect([sendJobId('42'), readReceiptJobId('42')]).toEqual(['send.42', 'receipt.42'])
  })

  test('keeps hashed ids apart when their parts only join to the same text', () => {
    expect(contentJobId(['ab', 'c'])).not.toBe(contentJobId(['a', 'bc']))
    expect(jobIds.status('x', 'se', 'nt')).not.toBe(jobIds.status('x', 'sent', ''))
  })

  test('keeps hashed ids apart when only a lone surrogate differs, of which UTF-8 makes U+FFFD', () => {
    const texts = ['a\ud800', 'a\ud801', 'a\udc00', 'a\ufffd', '"a\\ud800"']

    expect(new Set(texts.map((text) => contentJobId([text]))).size).toBe(texts.length)
    expect(new Set(texts.map((text) => jobIds.status('wamid.A', text))).size).toBe(texts.length)
  })

  test('never makes an id that BullMQ refuses or that is a key of its own', () => {
    const text = fc.oneof(anyText(), fc.constantFrom(...KEYS_OF_BULLMQ, WAMID, '1', 'a:b'))
    fc.assert(
      fc.property(text, text, text, (a, b, c) => {
        const ids = [
          jobIds.message(a),
          jobIds.status(a, b, c),
          jobIds.echo(a),
          jobIds.standby(a),
          jobIds.history(a, b),
          contentJobId([a, b, c]),
        ]
        const isHarmful = (id: string) =>
          !/^[A-Za-z0-9+/=._-]{1,700}$/.test(id) || /^\d+$/.test(id) || KEYS_OF_BULLMQ.includes(id)
        expect(ids.filter(isHarmful)).toEqual([])
      }),
    )
  })
})
