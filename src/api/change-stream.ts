/**
 * The feed of changes as server-sent events.
 *
 * Every stream reads the database from its own cursor, one page at a time, and reads the next page only when the client
 * has received the one before. So a slow client costs the memory of one page, and a client that reads nothing is
 * disconnected. Streams with the same cursor share one read.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Request, Response } from 'express'
import type { Kysely } from 'kysely'
import type { Database } from '../db/schema.ts'
import {
  ChangeCursorError,
  type ChangePage,
  type ChangeView,
  readChanges,
  readNewestCursor,
} from '../db/views/change-feed.ts'
import { runEvery } from '../lifecycle/run-every.ts'
import { type ChangeWatch, createChangeWatch } from './change-watch.ts'
import { type Log, ProblemError } from './problem.ts'

const SECOND = 1000
const PAGE = 100
const POLL_INTERVAL_MS = 500
/** Shorter than the idle time-outs of usual proxies, which are 30 s or more. */
const HEARTBEAT_MS = 15 * SECOND
/** A client that reads nothing for this long is disconnected; it can connect again with its cursor. */
const SLOW_CLIENT_MS = 30 * SECOND
/** Size of one write; the progress of a client is measured in these steps. */
const CHUNK_CHARS = 64 * 1024
const RETRY_AFTER_FAILURE_MS = 1 * SECOND
/** After this time an EventSource connects again. */
const RECONNECT_MS = 1 * SECOND
const MAX_STREAMS = 200

export type ChangeStreams = {
  /**
   * Answers with the changes after `after`, and resolves when the client disconnects or the process stops.
   * @throws ChangeCursorError, or the driver's error, as long as nothing was sent.
   */
  serve(req: Request, res: Response, after: string | undefined): Promise<void>
}

export type ChangeStreamsOptions = {
  db: Kysely<Database>
  /** Aborts when the process stops; streams then end at once. */
  signal: AbortSignal
  log: Pick<Log, 'warn'>
  slowClientMs?: number
  heartbeatMs?: number
}

export function createChangeStreams(options: ChangeStreamsOptions): ChangeStreams {
  const { db, signal, log } = options
  const onError = (err: unknown) => log.warn({ err }, 'changes cannot be read, trying again')
  const watch = createChangeWatch({
    readNewest: () => readNewestCursor(db),
    intervalMs: POLL_INTERVAL_MS,
    signal,
    onError,
  })
  const readPage = shareReading(async (after) => {
    const seen = watch.newest()
    return { ...(await readChanges(db, { after, limit: PAGE })), seen }
  })
  let streams = 0

  return {
    serve: async (req, res, after) => {
      if (signal.aborted || streams >= MAX_STREAMS) throw noMoreStreams()
      const first = await readPage(after)
      streams++
      const leaving = new AbortController()
      res.once('close', () => leaving.abort())
      try {
        begin(res, first.items[0] === undefined ? first.next : after)
        if (req.method === 'HEAD') return
        const stop = AbortSignal.any([signal, leaving.signal])
        await sendChanges({ ...options, res, watch, readPage, onError, stop }, first)
      } finally {
        streams--
        res.end()
      }
    },
  }
}

/** `seen`: the newest cursor before the page was read, so that no change between the read and the wait is missed. */
type SeenPage = ChangePage & { seen: string | undefined }
type ReadPage = (after: string | undefined) => Promise<SeenPage>

type Stream = ChangeStreamsOptions & {
  res: Response
  watch: ChangeWatch
  readPage: ReadPage
  onError: (err: unknown) => void
  stop: AbortSignal
}

/** The connection is closed after the stream: a shutdown would wait for a kept one. */
function begin(res: Response, cursor: string | undefined): void {
  res.status(200).set({
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store, no-transform',
    Connection: 'close',
    // Without this header, nginx collects events until its buffer is full.
    'X-Accel-Buffering': 'no',
  })
  res.flushHeaders()
  // The client stores an id without data as its last event id, and dispatches no event for it.
  res.write(`retry: ${RECONNECT_MS}\n${cursor === undefined ? '' : `id: ${cursor}\n`}\n`)
}

async function sendChanges(stream: Stream, first: SeenPage): Promise<void> {
  const { res, watch, stop } = stream
  const ended = new AbortController()
  const sendHeartbeat = () => res.writableNeedDrain || res.write(': still here\n\n')
  const heartbeats = AbortSignal.any([stop, ended.signal])
  void runEvery(stream.heartbeatMs ?? HEARTBEAT_MS, sendHeartbeat, heartbeats, stream.onError)
  let page = first
  try {
    while (!stop.aborted) {
      if (!(await write(stream, page.items))) return
      if (page.items.length < PAGE) await watch.changed(page.seen, stop)
      page = await readNext(stream, page.next)
    }
  } catch (err) {
    if (!stop.aborted) throw err
  } finally {
    ended.abort()
  }
}

/** Repeats the read while the database is away: an EventSource does not connect again after an error answer. */
async function readNext({ readPage, onError, stop }: Stream, after: string): Promise<SeenPage> {
  for (;;) {
    try {
      return await readPage(after)
    } catch (err) {
      if (err instanceof ChangeCursorError) throw err
      onError(err)
      await sleep(RETRY_AFTER_FAILURE_MS, undefined, { signal: stop })
    }
  }
}

/** Resolves with false when the client has disconnected or does not read any more. */
async function write(stream: Stream, items: readonly ChangeView[]): Promise<boolean> {
  let chunk = ''
  for (const item of items) {
    chunk += eventOf(item)
    if (chunk.length < CHUNK_CHARS) continue
    if (!(await writeChunk(stream, chunk))) return false
    chunk = ''
  }
  return chunk === '' || writeChunk(stream, chunk)
}

async function writeChunk(
  { res, stop, slowClientMs = SLOW_CLIENT_MS }: Stream,
  chunk: string,
): Promise<boolean> {
  if (stop.aborted) return false
  if (res.write(chunk)) return true
  const tooSlow = AbortSignal.timeout(slowClientMs)
  try {
    await once(res, 'drain', { signal: AbortSignal.any([stop, tooSlow]) })
    return true
  } catch (err) {
    if (tooSlow.aborted) res.destroy()
    else if (!stop.aborted) throw err
    return false
  }
}

/** JSON.stringify writes no line breaks, so the data is one line. */
function eventOf(change: ChangeView): string {
  return `id: ${change.cursor}\ndata: ${JSON.stringify(change)}\n\n`
}

/** Reads with the same cursor at the same time share one query. */
function shareReading(read: ReadPage): ReadPage {
  const underWay = new Map<string | undefined, Promise<SeenPage>>()
  return (after) => {
    const known = underWay.get(after)
    if (known !== undefined) return known
    const reading = read(after).finally(() => underWay.delete(after))
    underWay.set(after, reading)
    return reading
  }
}

function noMoreStreams(): ProblemError {
  return new ProblemError({
    status: 503,
    detail: 'There is no room for another stream here at the moment.',
    headers: { 'Retry-After': '5' },
  })
}
