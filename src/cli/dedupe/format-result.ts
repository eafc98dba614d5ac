/** The result of `wa-ingest dedupe --apply` as text. */
import type { DedupeResult } from '../../db/dedupe/apply.ts'
import { formatCount, formatDuration } from '../progress.ts'

const SHOWN_LEFT_OUT = 10

export function formatResult(result: DedupeResult): string {
  return [
    ...summary(result),
    ...leftOut(result),
    ...(result.left_behind === undefined ? [] : [`Left in the database: ${result.left_behind}.`]),
    closing(result),
  ].join('\n')
}

function summary({
  moved,
  run_id,
  duration_ms,
  longest_batch_ms,
  repointed,
  restored,
}: DedupeResult): string[] {
  const lines = [
    `Moved ${formatCount(moved)} rows into chat_messages_duplicates in ${formatDuration(duration_ms)} (run ${run_id}).`,
  ]
  if (moved > 0) lines.push(`Longest transaction: ${formatDuration(longest_batch_ms)}.`)
  for (const [name, rows] of Object.entries(repointed))
    lines.push(`Re-pointed ${formatCount(rows)} rows of ${name}.`)
  if (restored > 0)
    lines.push(`${formatCount(restored)} rows got their id back: the copy that was faster was rolled back.`)
  return lines
}

function leftOut({ left_out }: DedupeResult): string[] {
  if (left_out.length === 0) return []
  const lines = left_out.slice(0, SHOWN_LEFT_OUT).map(({ id, reason }) => `  ${id}: ${reason}`)
  const more = left_out.length - lines.length
  return [
    `${formatCount(left_out.length)} ids are left as they are:`,
    ...lines,
    ...(more > 0 ? [`  … and ${formatCount(more)} more`] : []),
  ]
}

function closing({ outcome, index, table }: DedupeResult): string {
  if (outcome === 'stopped') return 'Stopped. What is moved stays moved; the same command goes on from here.'
  if (index === 'missing')
    return 'The unique index is not built. Remove what stands against it, then run the same command again.'
  if (outcome === 'incomplete')
    return `Rows of ${table} wait with their id taken away; see above, then run the same command again.`
  return index === 'built'
    ? 'The unique index is built and valid.'
    : 'The unique index was there already, and is valid.'
}
