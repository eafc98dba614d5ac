import type { Page } from './page.ts'

export type NavigationLink = { path: string; label: string }

/** Addresses for operators that other parts of the service serve. */
const OTHER_LINKS: readonly NavigationLink[] = [
  { path: '/queues', label: 'Queues' },
  { path: '/health/ready', label: 'Health' },
  { path: '/metrics', label: 'Metrics' },
]

/** The pages that have a label, in the order of their list, then everything else. */
export function navigationOf(pages: readonly Page[]): NavigationLink[] {
  const links = pages.flatMap(({ path, navigationLabel: label }) =>
    label === undefined ? [] : [{ path, label }],
  )
  return [...links, ...OTHER_LINKS]
}
