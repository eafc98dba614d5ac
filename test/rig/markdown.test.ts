import { expect, test } from 'vitest'
import { formatMarkdownTable, putBetweenMarks } from '../../rig/markdown.ts'

test('a table has a head, aligns numbers to the right, and has a line for each row', () => {
  const columns = [
    { title: 'name', isText: true, cell: ({ name }: { name: string }) => name },
    { title: 'length', cell: ({ name }: { name: string }) => String(name.length) },
  ]

  expect(formatMarkdownTable(columns, [{ name: 'redis' }])).toBe(
    '| name | length |\n| --- | ---: |\n| redis | 5 |',
  )
})

test('a text replaces the last one between the marks of a page, and leaves the rest', () => {
  const page = '# Page\n\n<!-- chaos: begin -->\nold\n<!-- chaos: end -->\n\nEnd\n'

  expect(putBetweenMarks(page, 'chaos', 'new\n')).toBe(
    '# Page\n\n<!-- chaos: begin -->\nnew\n<!-- chaos: end -->\n\nEnd\n',
  )
  expect(putBetweenMarks(page, 'bench', 'new\n')).toBe('new\n')
  expect(putBetweenMarks('', 'chaos', 'new\n')).toBe('new\n')
})
