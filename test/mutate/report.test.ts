import { expect, test } from 'vitest'
import { formatScores, scoreOf } from '../../mutate/report.ts'
import type { Mutant, Outcome } from '../../mutate/run-mutants.ts'

const OUTCOMES: Outcome[] = ['noticed', 'noticed', 'too slow', 'survived', 'not reached', 'types']

test('mutants that the types refuse do not count, those that never end count as noticed', () => {
  expect(scoreOf({ file: 'src/a.ts', tests: [], mutants: OUTCOMES.map(mutant), seconds: 7 })).toEqual({
    file: 'src/a.ts',
    mutants: 5,
    noticed: 3,
    tooSlow: 1,
    percent: 60,
    seconds: 7,
  })
})

test('a table of several files ends with all of them together; a file without mutants has nothing left to notice', () => {
  const mutants = OUTCOMES.map(mutant)
  const scores = [
    scoreOf({ file: 'src/a.ts', tests: [], mutants, seconds: 7.2 }),
    scoreOf({ file: 'src/types.ts', tests: [], mutants: [], seconds: 1 }),
    scoreOf({ file: 'src/b.ts', tests: [], mutants: mutants.slice(0, 3), seconds: 8.1 }),
  ]

  expect(formatScores(scores, 75).split('\n').map(words)).toEqual([
    'file mutants noticed of these by time score took',
    'src/a.ts 5 3 1 60.0 % ✗ 7 s',
    'src/types.ts 0 0 0 100.0 % 1 s',
    'src/b.ts 3 3 1 100.0 % 8 s',
    'all files 8 6 2 75.0 % 16 s',
  ])
  expect(formatScores(scores.slice(0, 1), 75)).not.toContain('all files')
})

function mutant(outcome: Outcome): Mutant {
  return { outcome, line: 1, column: 1, range: [0, 1], replacement: '' }
}

function words(line: string): string {
  return line.trim().replace(/ +/g, ' ')
}
