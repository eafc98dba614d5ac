/** What `npm run chaos` writes for the docs. */
import { expect, test } from 'vitest'
import { formatMarkdown } from '../../chaos/report/markdown.ts'
import { drawMemory } from '../../chaos/report/memory-chart.ts'
import { createUnplayedReport, type ScenarioReport } from '../../chaos/report/report.ts'
import { killApi } from '../../chaos/scenarios/processes.ts'

const PLAY: ScenarioReport = {
  ...createUnplayedReport({ scenario: killApi, backend: 'redis', seed: 1 }, new Error('none')),
  ...{ ok: true, sent: 1_200, acknowledged: 1_200, stored: 1_199, lost: 1, redelivered: 20, retried: 3 },
  ...{ longest_ack_ms: 350, recovery_ms: 900 },
  memory: [
    { at_ms: 0, mb: { 'api-1': 80, redis: 4 } },
    { at_ms: 5_000, mb: { redis: 5 } },
    { at_ms: 10_000, mb: { 'api-1': 90, redis: 6 } },
  ],
}
const OPTIONS = {
  command: 'npm run chaos -- --rounds 2',
  startedAt: new Date('2026-06-01T12:00:00Z'),
  durationMs: 90_000,
}

test('the table has one row for a scenario and backend, over all of its plays', () => {
  const broken = { ...PLAY, ok: false, seed: 2, recovery_ms: 1_500 }
  const table = formatMarkdown({ ...OPTIONS, reports: [PLAY, broken] })

  expect(table).toContain('`npm run chaos -- --rounds 2`, 2026-06-01')
  expect(table).toContain(
    '| `kill-api` | redis | 1 of 2 | 2,400 | 2,400 | 46 | 2,398 | 0 | 2 | 350 ms | 1.5 s |',
  )
})

test('the drawing has a line for each process, with a gap where it was not running', () => {
  const svg = drawMemory([PLAY])

  expect(svg.match(/<path /g)).toHaveLength(2)
  expect(svg).toMatch(/<path d="M[\d. ]+M[\d. ]+" [^>]*stroke="#2f81f7"/)
  expect(svg).toContain('>redis</text>')
})
