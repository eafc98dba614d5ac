/** Errors for refusals that end a run. */

/** For a status that no further attempt can change: one line with the next step. Otherwise undefined. */
export function refusalError(url: URL, status: number): Error | undefined {
  if (status >= 500 || status === 408 || status === 429 || (status >= 200 && status < 300)) return undefined
  const nextStep = NEXT_STEPS[status] ?? 'is this the address of wa-ingest? Give another one with --url'
  return new Error(`${shown(url)} answered ${status}: ${nextStep}`)
}

const OTHER_SECRET =
  'its app secret is another one. Give the secret that the service runs with as --secret or META_APP_SECRET, or run this where its DATA_DIR is'

const NEXT_STEPS: Readonly<Record<number, string>> = {
  401: OTHER_SECRET,
  403: OTHER_SECRET,
  413: 'the body is too large for it. Give a smaller --batch',
}

export function unreachableError(url: URL, code: string): Error {
  return new Error(
    `no wa-ingest at ${shown(url)} (${code}): start it with npm start, or give its address with --url`,
  )
}

function shown(url: URL): string {
  return `${url.origin}${url.pathname}`
}
