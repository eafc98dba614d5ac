import { z } from 'zod'
import {
  ChangeCursorError,
  type ChangePage,
  readChanges,
  readPresentCursor,
} from '../../db/views/change-feed.ts'
import type { ApiDeps } from '../api-deps.ts'
import { ANSWERED, type ApiRoute, defineRoute } from '../api-route.ts'
import type { ChangeStreams } from '../change-stream.ts'
import { change, limit } from '../message-schema.ts'
import { ProblemError } from '../problem.ts'

const DEFAULT_LIMIT = 100

/** Stands for the cursor of the newest change. */
const NOW = 'now'

const after = z
  .string()
  .transform((text) => (text === '' ? undefined : text))
  .optional()
  .describe(
    'The cursor of the last change that was processed, or `now` to begin with the next one. Without it: the oldest change that is kept.',
  )

const CURSOR_PROBLEMS = {
  400: 'This is no cursor of the feed.',
  410: 'The cursor cannot be read on from: changes after it were removed, or the database was restored.',
}

export function changeRoutes({ db, streams }: Pick<ApiDeps, 'db'> & { streams: ChangeStreams }): ApiRoute[] {
  return [
    defineRoute(
      {
        method: 'get',
        path: '/changes',
        operationId: 'listChanges',
        summary: 'The changes after a cursor',
        description:
          'All changes, in one order that never changes, each with the message as it is now. If you store `next_cursor` ' +
          'together with the result of your work, you miss no change, however often either side restarts. A page that has ' +
          'as many items as you asked for may not be the last one.',
        query: z.strictObject({ after, limit: limit.default(DEFAULT_LIMIT) }),
        answers: {
          200: {
            description: 'The changes after the cursor, oldest first.',
            body: z.strictObject({
              items: z.array(change),
              next_cursor: z.string().describe('For the next request; never null.'),
            }),
          },
        },
        problems: CURSOR_PROBLEMS,
      },
      async ({ query }) => {
        const { items, next } = await readPage(query)
        return { status: 200, body: { items, next_cursor: next } }
      },
    ),
    defineRoute(
      {
        method: 'get',
        path: '/stream',
        operationId: 'streamChanges',
        summary: 'The same as server-sent events',
        description:
          'Each event is a change, with its cursor as id, so an EventSource goes on after the last event that it received. ' +
          '`Last-Event-ID` has precedence over `after`. A client that does not read is disconnected.',
        query: z.strictObject({ after }),
        headers: z.object({
          'last-event-id': z.string().optional().describe('The id of the last event that was processed.'),
        }),
        answers: { 200: { description: 'Changes as they happen.', contentType: 'text/event-stream' } },
        problems: CURSOR_PROBLEMS,
      },
      async ({ query, headers, req }, res) => {
        const asked = headers['last-event-id'] || query.after
        const from = asked === NOW ? await readPresentCursor(db) : asked
        await streams.serve(req, res, from).catch(explainCursor)
        return ANSWERED
      },
    ),
  ]

  async function readPage(query: { after?: string | undefined; limit: number }): Promise<ChangePage> {
    if (query.after === NOW) return { items: [], next: await readPresentCursor(db) }
    return readChanges(db, query).catch(explainCursor)
  }
}

function explainCursor(err: unknown): never {
  if (!(err instanceof ChangeCursorError)) throw err
  const status = err.reason === 'invalid' ? 400 : 410
  throw new ProblemError({ status, detail: err.message, extensions: { reason: `cursor_${err.reason}` } })
}
