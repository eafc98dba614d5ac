/**
 * Finds environment variables that look like a misspelt one of ours. They are warnings and stop nothing, because other programs
 * use the same environment.
 */
import { editDistance } from '../core/edit-distance.ts'

/** Names that are further apart than this many edits count as different names. */
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

/** The same first word: a name with another prefix belongs to another program. */
function isSameFamily(name: string, candidate: string): boolean {
  return name.split('_')[0]?.toUpperCase() === candidate.split('_')[0]
}

/** META_SECRET for META_APP_SECRET, ADMIN_PASS for ADMIN_PASSWORD: every word begins one of the real name. */
function isAbbreviation(name: string, candidate: string): boolean {
  const words = candidate.split('_')
  const parts = name.toUpperCase().split('_')
  return parts.length > 1 && parts.every((part) => part !== '' && words.some((word) => word.startsWith(part)))
}
