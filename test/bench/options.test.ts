import { describe, expect, test } from 'vitest'
import { HELP, parseOptions } from '../../bench/options.ts'
import { stepsOf } from '../../bench/run-bench.ts'
import type { Settings } from '../../bench/settings.ts'
import { WORKLOADS } from '../../bench/workloads.ts'

function settings(...args: string[]): Settings {
  return parseOptions(args, {})!.settings
}

describe('parseOptions', () => {
  test('chooses contenders and workloads', () => {
    expect(settings('--contenders', 'redis, direct', '--workloads=burst')).toMatchObject({
      contenders: ['direct', 'redis'],
      workloads: ['burst'],
    })
  })

  test.each([
    [['--contenders', 'reddis'], 'did you mean redis?'],
    [['--workloads', 'nonsense'], 'it knows single, batch10'],
    [['--round', '2'], 'unknown option --round; did you mean --rounds?'],
    [['--rounds', '0'], '--rounds takes a whole number'],
    [['--env', 'concurrency'], '--env takes NAME=value'],
  ])('refuses %j', (args, message) => {
    expect(() => parseOptions(args, {})).toThrow(message)
  })

  test('hands variables to the contenders', () => {
    expect(settings('--env', 'WORKER_CONCURRENCY=64', '--env', 'A=b=c').env).toEqual({
      WORKER_CONCURRENCY: '64',
      A: 'b=c',
    })
  })

  test('names every option in the help', () => {
    for (const name of ['contenders', 'workloads', 'rounds', 'seconds', 'messages', 'json', 'svg', 'quick'])
      expect(HELP).toContain(`--${name}`)
    expect(parseOptions(['--help'], {})).toBeUndefined()
  })
})

describe('stepsOf', () => {
  test('lets another contender be first in every round', () => {
    const steps = stepsOf(
      settings('--contenders', 'direct,redis,postgres', '--workloads', 'single', '--rounds', '3'),
    )

    expect(steps.map(({ contender }) => contender.name)).toEqual([
      ...['direct', 'redis', 'postgres'],
      ...['redis', 'postgres', 'direct'],
      ...['postgres', 'direct', 'redis'],
    ])
  })

  test('leaves out what says nothing about a contender', () => {
    const steps = stepsOf(
      settings('--contenders', 'floor,bullmq-noop,direct', '--workloads', 'stall,large-table'),
    )

    expect(new Set(steps.map(({ contender }) => contender.name))).toEqual(new Set(['direct']))
  })

  test('takes every contender and every workload also in a quick run', () => {
    const steps = stepsOf(settings('--quick'))

    expect(new Set(steps.map(({ contender }) => contender.name)).size).toBe(8)
    expect(new Set(steps.map(({ workload }) => workload.name))).toEqual(new Set(WORKLOADS))
  })
})
