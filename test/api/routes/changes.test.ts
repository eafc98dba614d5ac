import { beforeEach, describe, expect, test } from 'vitest'
import { openEventStream } from '../../support/event-stream.ts'
import { waitForVisibleChanges } from '../../support/visible-changes.ts'
import { withApiToken } from '../admin-app.ts'
import { type ApiApp, startApi } from '../api-app.ts'

let api: ApiApp

beforeEach(async () => {
  api = await startApi()
})

async function receive(...contents: string[]): Promise<void> {
  for (const content of contents) await api.receive({ content })
  await waitForVisibleChanges(api.database.db)
}

const contentsOf = (items: { message: { content: string } }[]) => items.map((item) => item.message.content)

test('both routes refuse a cursor from which they cannot continue, with the reason', async () => {
  for (const [cursor, status, reason] of [
    ['x', 400, 'cursor_invalid'],
    ['1.2.3', 400, 'cursor_invalid'],
    ['99999999999.1', 410, 'cursor_foreign'],
  ]) {
    const answer = { status, body: { reason } }
    expect(await api.get(`/changes?after=${cursor}`)).toMatchObject(answer)
    expect(await api.get(`/stream?after=${cursor}`)).toMatchObject(answer)
    expect(await api.get('/stream', { headers: { 'last-event-id': String(cursor) } })).toMatchObject(answer)
  }
})

describe('GET /api/changes', () => {
  test('continues from next_cursor page by page, and keeps the cursor at the end', async () => {
    await receive('a', 'b', 'c')

    const first = await api.get('/changes?limit=2')
    const second = await api.get(`/changes?limit=2&after=${first.body.next_cursor}`)
    const third = await api.get(`/changes?limit=2&after=${second.body.next_cursor}`)

    expect([first, second, third].map(({ body }) => contentsOf(body.items))).toEqual([['a', 'b'], ['c'], []])
    expect(third.body.next_cursor).toBe(second.body.next_cursor)
    expect(first.body.items[1].cursor).toBe(first.body.next_cursor)
  })

  test('an empty after counts as none, and after=now begins with the next change', async () => {
    await receive('before')
    const now = await api.get('/changes?after=now')
    await receive('after')

    const next = await api.get(`/changes?after=${now.body.next_cursor}`)

    expect(now.body.items).toEqual([])
    expect(contentsOf(next.body.items)).toEqual(['after'])
    expect((await api.get('/changes?after=')).body.items).toHaveLength(2)
  })

  test('a cursor before the removed changes is 410, with the next step', async () => {
    await receive('a', 'b')
    const { body } = await api.get('/changes?limit=1')
    await api.database.pool.query(
      'UPDATE changes_horizon SET (xid, id) = (SELECT xid, id FROM changes ORDER BY xid DESC, id DESC LIMIT 1)',
    )

    expect(await api.get(`/changes?after=${body.next_cursor}`)).toMatchObject({
      status: 410,
      body: { reason: 'cursor_expired', detail: expect.stringContaining('after=now') },
    })
  })
})

describe('GET /api/stream', () => {
  const open = (query = '', headers: Record<string, string> = {}) =>
    openEventStream(`${api.url}/api/stream${query}`, { ...withApiToken, ...headers })

  test('sends the stored changes and then new ones, each with its cursor as id', async () => {
    await receive('a', 'b')

    const stream = await open()
    await stream.waitForChanges(2)
    await receive('c')

    expect(contentsOf(await stream.waitForChanges(3))).toEqual(['a', 'b', 'c'])
    const events = stream.frames.filter((frame) => frame.data !== undefined)
    expect(events.map((event) => event.id)).toEqual(stream.changes().map((change) => change.cursor))
    expect((await api.get('/changes')).body.items).toEqual(stream.changes())
  })

  test('has the headers that browsers and buffering proxies need', async () => {
    const stream = await open()

    expect(stream.status).toBe(200)
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(stream.headers['access-control-allow-origin']).toBeUndefined()
  })

  test('continues from Last-Event-ID, which has precedence over after', async () => {
    await receive('a', 'b', 'c')
    const first = await open()
    const [a, b] = await first.waitForChanges(3)

    const byHeader = await open(`?after=${a.cursor}`, { 'last-event-id': b.cursor })
    const byQuery = await open(`?after=${a.cursor}`)

    expect(contentsOf(await byHeader.waitForChanges(1))).toEqual(['c'])
    expect(contentsOf(await byQuery.waitForChanges(2))).toEqual(['b', 'c'])
  })

  test('a client that disconnects before the first event misses nothing when it connects again', async () => {
    await receive('before')
    const first = await open('?after=now')
    await expect.poll(() => first.lastEventId()).toBeDefined()
    first.close()
    await receive('meanwhile')

    const second = await open('?after=now', { 'last-event-id': first.lastEventId() ?? '' })

    expect(contentsOf(await second.waitForChanges(1))).toEqual(['meanwhile'])
  })

  test('sends many pages without missing or repeating a change', async () => {
    await api.database.pool.query(
      `INSERT INTO changes (kind) SELECT 'n' || n FROM generate_series(1, 1234) n`,
    )
    await waitForVisibleChanges(api.database.db)

    const stream = await open()
    const changes = await stream.waitForChanges(1234)

    expect(changes.map((change) => change.kind)).toEqual(Array.from({ length: 1234 }, (_, n) => `n${n + 1}`))
  })

  test('fifty streams see the same changes while several writers work', async () => {
    const streams = await Promise.all(Array.from({ length: 50 }, () => open('?after=now')))
    await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((content) => api.receive({ content })))

    const seen = await Promise.all(streams.map((stream) => stream.waitForChanges(6)))

    expect(new Set(seen.map((changes) => JSON.stringify(changes))).size).toBe(1)
    expect(contentsOf(seen[0] ?? []).sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  })

  test('ends at once when the process stops, and then accepts no new streams', async () => {
    const stream = await open()

    api.stop()

    await expect.poll(() => stream.hasEnded).toBe(true)
    expect((await api.get('/stream')).status).toBe(503)
  })

  test('answers HEAD without streaming', async () => {
    const response = await api.get('/stream', { method: 'HEAD' })

    expect(response).toMatchObject({
      status: 200,
      headers: { 'content-type': 'text/event-stream; charset=utf-8' },
    })
  })
})
