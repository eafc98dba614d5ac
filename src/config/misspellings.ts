/** Variables that look like one of ours and are not: a warning, because the environment belongs to others too. */

/** Names further apart than this are different names and not misspelt ones. */
const MAX_DISTANCE = 2

/** A line `META_APP_SECRETS is not known: did you mean META_APP_SECRET?` for each suspicious name. */
export function findMisspellings(names: readonly string[], known: readonly string[]): string[] {
  return names
    .filter((name) => !known.includes(name))
    .flatMap((name) => {
      const meant = findMeantName(name, known)
      return meant === undefined ? [] : [`${name} is not known: did you mean ${meant}?`]
    })
}

function findMeantName(name: string, known: readonly string[]): string | undefined {
  const candidates = known
    .filter((candidate) => candidate.includes('_') && isSameFamily(name, candidate))
    .map((candidate) => ({
      candidate,
      distance: isAbbreviation(name, candidate) ? 0 : editDistance(name, candidate),
    }))
    .filter(({ distance }) => distance <= MAX_DISTANCE)
    .sort((a, b) => a.distance - b.distance)
  return candidates[0]?.candidate
}

/** Same first word: what carries another program's prefix is its business. */
function isSameFamily(name: string, candidate: string): boolean {
  return name.split('_')[0]?.toUpperCase() === candidate.split('_')[0]
}

/** META_SECRET for META_APP_SECRET, ADMIN_PASS for ADMIN_PASSWORD: every word begins one of the real name. */
function isAbbreviation(name: string, candidate: string): boolean {
  const words = candidate.split('_')
  const parts = name.toUpperCase().split('_')
  return parts.length > 1 && parts.every((part) => part !== '' && words.some((word) => word.startsWith(part)))
}

/** Levenshtein's distance: how many characters to add, remove or replace. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min((previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, replaced))
    }
    previous = current
  }
  return previous[b.length] ?? 0
}
