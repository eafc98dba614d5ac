/** The documentation names only files that exist. `NAME`, `NNNN` and `x/y` stand for any name. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'

const PAGES = globSync(['*.md', 'docs/**/*.md']).sort()

describe.each(PAGES)('%s', (page) => {
  const text = readFileSync(page, 'utf8')

  test('links to files and headings that exist', () => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)

    expect(links.filter((link) => !/^https?:/.test(link) && !leadsSomewhere(page, link))).toEqual([])
  })

  test('names files of the project that exist', () => {
    const named = text.matchAll(
      /(?<![\w./-])(?:src|test|migrations|bench|chaos|mutate|rig|scripts|bin|docs)\/[\w./-]+\.(?:ts|js|md|svg|css)\b/g,
    )

    const paths = [...named].map(([path]) => path).filter((path) => !/NAME|NNNN|\bx\/y\b/.test(path))
    expect(paths.filter((path) => !existsSync(path))).toEqual([])
  })
})

function leadsSomewhere(page: string, link: string): boolean {
  const [path = '', heading] = link.split('#')
  const file = path === '' ? page : join(dirname(page), path)
  if (!existsSync(file)) return false
  return heading === undefined || headingsOf(file).includes(heading)
}

/** The anchors that GitHub makes of the headings. */
function headingsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
