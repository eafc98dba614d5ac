import { expect, test } from 'vitest'
import { createSettingWatch } from '../../../src/cli/service/setting-watch.ts'
import type { SettingFinding } from '../../../src/core/setting-finding.ts'
import { captureLog } from '../../api/captured-log.ts'

function finding(setting: string, actual = 'no'): SettingFinding {
  return { setting, actual, expected: 'yes', severity: 'unsafe', advice: 'set it' }
}

/** Looks once for each of the rounds; gives what was logged in each, and the counts. */
async function look(rounds: readonly (readonly (SettingFinding[] | undefined)[])[]) {
  const { log, lines } = captureLog()
  const counts: number[] = []
  const left = [...rounds]
  const watch = createSettingWatch({
    find: async () => left.shift() ?? [],
    onCount: (count) => counts.push(count),
    log,
  })
  const logged: string[][] = []
  let seen = 0
  for (const _ of rounds) {
    await watch.runOnce()
    const all = lines().map(({ msg, detail, setting }) => `${msg}: ${detail ?? setting}`)
    logged.push(all.slice(seen))
    seen = all.length
  }
  return { logged, counts }
}

test('an unsafe setting is logged once, with the next step, and again when it is safe', async () => {
  const { logged, counts } = await look([
    [[], [finding('redis appendonly')]],
    [[], [finding('redis appendonly')]],
    [[], []],
  ])

  expect(logged).toEqual([
    ['unsafe setting: redis appendonly is no, expected yes: set it'],
    [],
    ['setting is safe again: redis appendonly'],
  ])
  expect(counts).toEqual([1, 1, 0])
})

test('the findings of a store that is away stay', async () => {
  const unsafe = [finding('postgresql fsync')]

  const { logged, counts } = await look([
    [unsafe, []],
    [undefined, []],
    [unsafe, []],
  ])

  expect(logged.slice(1)).toEqual([[], []])
  expect(counts).toEqual([1, 1, 1])
})

test('a clock that drifts further stays one finding', async () => {
  const { logged } = await look([[[finding('redis clock', '3 s')]], [[finding('redis clock', '4 s')]]])

  expect(logged[1]).toEqual([])
})
