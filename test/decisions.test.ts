import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const records = globSync('docs/decisions/[0-9]*.md')
  .map((path) => path.replace('docs/decisions/', ''))
  .sort()

test('every dependency has a line that says why, and every line a dependency', () => {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(
    readFileSync('package.json', 'utf8'),
  )
  const lines = readFileSync('docs/decisions/0004-dependencies.md', 'utf8').matchAll(/^\| `([^`]+)` \| \S/gm)

  expect([...lines].map(([, name]) => name).sort()).toEqual(
    Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies }).sort(),
  )
})

test('the index lists every record under its number and title', () => {
  const index = readFileSync('docs/decisions/README.md', 'utf8')

  const expected = records.map((path) => {
    const title = /^# (\d{4}) (.+)$/m.exec(readFileSync(`docs/decisions/${path}`, 'utf8'))
    return `| [${title?.[1]}](${path}) | ${title?.[2]} |`
  })
  expect(index.match(/^\| \[\d.*$/gm)).toEqual(expected)
})

test.each(records)('%s has a number in order, a context, a decision and a consequence', (path) => {
  const text = readFileSync(`docs/decisions/${path}`, 'utf8')

  expect(Number.parseInt(path, 10)).toBe(records.indexOf(path) + 1)
  expect(text.match(/^\*\*(?:Context|Decision|Consequence)\.\*\*/gm)).toEqual([
    '**Context.**',
    '**Decision.**',
    '**Consequence.**',
  ])
})
