import { editDistance } from '../core/edit-distance.ts'

/** The candidate that a mistyped word most likely meant; undefined when none is close. */
export function closestTo(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate) }))
    .sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  if (best && best.distance <= Math.max(1, Math.floor(best.candidate.length / 3))) return best.candidate
  return word.length >= 3 ? candidates.find((candidate) => candidate.startsWith(word)) : undefined
}
