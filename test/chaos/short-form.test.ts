/** A few scenarios of `npm run chaos`, on both backends: the service keeps its promises, and the harness works. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { PROJECT, startProcess } from '../support/processes.ts'
import { hasRedis } from '../support/redis.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const MINUTE = 60_000
const KEPT = { ok: true, lost: 0, doubled: 0, breaches: [] }

test(
  'the short form keeps every promise: what is killed, cut off or doubled loses and doubles nothing',
  async () => {
    const directory = createTempDirectory()
    const file = path.join(directory, 'chaos.json')
    const only = hasRedis ? [] : ['--backend', 'postgres']
    const args = ['chaos/main.ts', '--short', '--json', file, '--logs', path.join(directory, 'logs'), ...only]
    const chaos = startProcess(process.execPath, args, { cwd: PROJECT })

    const end = await chaos.ended

    const { scenarios } = JSON.parse(readFileSync(file, 'utf8'))
    expect(end, chaos.output).toEqual({ code: 0, signal: null })
    expect(scenarios.length).toBeGreaterThanOrEqual(hasRedis ? 3 : 2)
    for (const scenario of scenarios) expect(scenario).toMatchObject(KEPT)
    for (const { sent, acknowledged, stored } of scenarios) {
      expect(sent).toBeGreaterThan(0)
      expect([acknowledged, stored]).toEqual([sent, sent])
    }
  },
  5 * MINUTE,
)

test('a scenario that does not exist is an error with a suggestion, and exit code 2', async () => {
  const chaos = startProcess(process.execPath, ['chaos/main.ts', '--only', 'kill-wroker'], { cwd: PROJECT })

  expect(await chaos.ended).toEqual({ code: 2, signal: null })
  expect(chaos.stderr).toContain('did you mean kill-worker?')
})
