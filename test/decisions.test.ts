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

test('docs/security.md counts the requirements of ASVS as its table has them', () => {
  const page = readFileSync('docs/security.md', 'utf8')
  const rows = [...page.matchAll(/^\| \d+\.\d+\.\d+.* \| (met|in part|proxy|not met|none) \| .*$/gm)]
  const count = (verdict: string) =>
    rows
      .filter(([, found]) => found === verdict)
      .reduce(
        (sum, [row]) =>
          sum + (/\(four requirements\)/.test(row) ? 4 : /\(five requirements\)/.test(row) ? 5 : 1),
        0,
      )

  expect(page).toContain(
    `Of 70 requirements ${count('met')} are met, ${count('in part')} in part, ${count('proxy')} are left to the proxy, ${count('not met')} is not met, and ${count('none')} have nothing`,
  )
  expect(rows.length).toBe(70 - 3 - 4)
})
