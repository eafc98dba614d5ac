/** The Markdown writer of reports: a table, the line above it that says how it was made, and its place in a page. */

export type MarkdownColumn<Row> = { title: string; isText?: boolean; cell: (row: Row) => string }

export function formatMarkdownTable<Row>(
  columns: readonly MarkdownColumn<Row>[],
  rows: readonly Row[],
): string {
  return [
    columns.map(({ title }) => title),
    columns.map(({ isText }) => (isText ? '---' : '---:')),
    ...rows.map((row) => columns.map(({ cell }) => cell(row))),
  ]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

/** The command as it was typed, and the day on which it ran. */
export function formatCommand(command: string, startedAt: Date): string {
  return `\`${command}\`, ${startedAt.toISOString().slice(0, 10)}`
}

/**
 * Replaces the text between `<!-- NAME: begin -->` and `<!-- NAME: end -->` of a page. A page without these marks becomes
 * the text.
 */
export function putBetweenMarks(page: string, name: string, text: string): string {
  const [beginMark, endMark] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`]
  const begin = page.indexOf(beginMark)
  const end = page.indexOf(endMark)
  if (begin === -1 || end < begin) return text
  return `${page.slice(0, begin + beginMark.length)}\n${text}${page.slice(end)}`
}
