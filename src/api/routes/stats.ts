import { z } from 'zod'
import { withDeadline } from '../../core/deadline.ts'
import type { Stats } from '../../db/views/stats.ts'
import type { ApiDeps } from '../api-deps.ts'
import { type ApiRoute, defineRoute } from '../api-route.ts'
import { ProblemError } from '../problem.ts'

const STATS_TIMEOUT_MS = 2_000

const count = z.int().min(0)

const stats = z
  .strictObject({
    received: count.describe('Events that reached the queue or the database, redeliveries included.'),
    stored: count,
    duplicates: z.strictObject({ queue: count.describe('Approximate.'), database: count }),
    merged: count.describe('Copies of a stored message that added content to it.'),
    parked: count.describe('Events that could not be understood or stored; kept with the reason.'),
    unknown_sends: count.describe('Messages with status `unknown` at the moment: they may have been sent.'),
  })
  .meta({ id: 'Stats', description: 'Totals since the database was made.' })

export function statsRoutes(deps: Pick<ApiDeps, 'stats'>): ApiRoute[] {
  return [
    defineRoute(
      {
        method: 'get',
        path: '/stats',
        operationId: 'getStats',
        summary: 'Totals',
        answers: { 200: { description: 'Totals since the database was made.', body: stats } },
      },
      async () => ({ status: 200, body: await readStats(deps.stats) }),
    ),
  ]
}

async function readStats(read: () => Promise<Stats>): Promise<Stats> {
  try {
    return await withDeadline(read(), STATS_TIMEOUT_MS, 'Reading the totals')
  } catch (cause) {
    const detail = 'The totals cannot be read right now: see /health/ready.'
    throw new ProblemError({ status: 503, detail, headers: { 'Retry-After': '5' } }, { cause })
  }
}
