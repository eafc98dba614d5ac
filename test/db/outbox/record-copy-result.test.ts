import { randomUUID } from 'node:crypto'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { CopyResult } from '../../../src/core/outbound.ts'
import { readOpenBreakers } from '../../../src/db/outbox/circuit-breaker.ts'
import { claimCopy, claimNext } from '../../../src/db/outbox/claim.ts'
import { createOutboundMessage } from '../../../src/db/outbox/create.ts'
import { recordCopyResult } from '../../../src/db/outbox/record-copy-result.ts'
import { storeUpload } from '../../../src/db/outbox/uploads.ts'
import { orderText, outboundOptions } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const META = ['meta']
const UNREACHABLE: CopyResult = {
  kind: 'not_sent',
  reason: 'unreachable',
  error: { code: 'ECONNREFUSED', message: 'connection refused' },
}
const STOPPED: CopyResult = { kind: 'stop_sender', error: { code: 190, message: 'expired at 10:00' } }
const COPIED: CopyResult = { kind: 'copied', media_id: '1166846181421' }

let database: TestDatabase
let phones = 15551230000

beforeAll(async () => {
  database = await createTestDatabase()
})
beforeEach(() => database.pool.query('DELETE FROM send_pauses; DELETE FROM send_refusals'))

/** Creates a message that shows a file of its own. */
async function orderFile(): Promise<string> {
  const id = randomUUID()
  await storeUpload(database.db, {
    id,
    mime_type: 'application/pdf',
    size_bytes: 4,
    sha256: id,
    filename: null,
  })
  const media = { upload_id: id }
  const outcome = await createOutboundMessage(
    database.db,
    { type: 'document', media, to: { phone: String(++phones) }, provider: 'meta' },
    outboundOptions(),
  )
  if (outcome.kind !== 'created') throw new Error(JSON.stringify(outcome))
  return outcome.message_id
}
const claimFile = (id: string) => claimCopy(database.db, id, META)
async function copyFile(id: string, result: CopyResult) {
  const outcome = await claimFile(id)
  if (outcome.kind !== 'copy') throw new Error(`not claimed: ${outcome.kind}`)
  return recordCopyResult(database.db, outcome.claim, result, 'one')
}
const endWaits = () =>
  database.pool.query(
    'UPDATE send_pauses SET paused_until = clock_timestamp(); UPDATE chat_messages SET not_before = NULL',
  )
const countChanges = async (id: string) =>
  (await database.pool.query('SELECT FROM changes WHERE message_id = $1', [id])).rowCount

describe('a file that the provider refuses', () => {
  test('with its token: another file tries at once, and when that is refused too, all wait', async () => {
    expect(await copyFile(await orderFile(), STOPPED)).toBe('queued')
    expect(await copyFile(await orderFile(), STOPPED)).toBe('queued')

    expect(await readOpenBreakers(database.db)).toMatchObject([{ failures: 2 }])
    expect(await claimFile(await orderFile())).toEqual({ kind: 'paused' })
  })

  test('when it cannot be reached: one file or message at a time tries, after waits that grow', async () => {
    const [file, other] = [await orderFile(), await orderFile()]
    const text = await orderText(database.db, 'Hello', { to: { phone: String(++phones) } })

    for (let failures = 1; failures <= 3; failures++) {
      expect(await copyFile(file, UNREACHABLE)).toBe('queued')
      expect(await readOpenBreakers(database.db)).toMatchObject([{ failures }])
      expect(await claimFile(other)).toEqual({ kind: 'paused' })
      expect(await claimNext(database.db, text, META)).toEqual({ kind: 'paused' })
      await endWaits()
    }
    await claimFile(file)
    expect(await claimFile(other)).toEqual({ kind: 'paused' })
    expect(await claimNext(database.db, text, META)).toEqual({ kind: 'paused' })
  })

  test('is announced once, and again only with another code', async () => {
    const file = await orderFile()
    await copyFile(file, STOPPED)
    const announced = await countChanges(file)
    await endWaits()

    await copyFile(file, { ...STOPPED, error: { ...STOPPED.error, message: 'expired at 11:00' } })

    expect(await countChanges(file)).toBe(announced)
    await endWaits()
    await copyFile(file, UNREACHABLE)
    expect(await countChanges(file)).toBe(Number(announced) + 1)
  })

  test('closes the breaker when it is refused for a reason of its own: the provider answers', async () => {
    const file = await orderFile()
    await copyFile(file, STOPPED)
    await endWaits()

    const failed: CopyResult = { kind: 'failed', error: { code: 131053, message: 'no such type' } }
    expect(await copyFile(file, failed)).toBe('failed')

    expect(await readOpenBreakers(database.db)).toEqual([])
  })
})

test('the message of a file that was copied is the next trial, at once', async () => {
  const [file, other] = [await orderFile(), await orderFile()]
  await copyFile(file, STOPPED)
  await endWaits()

  expect(await copyFile(file, COPIED)).toBe('copied')

  expect(await claimNext(database.db, file, META)).toMatchObject({
    kind: 'claimed',
    claim: { trial: expect.any(String) },
  })
  expect(await claimFile(other)).toEqual({ kind: 'paused' })
})
