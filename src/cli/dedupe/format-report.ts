/** The report of `wa-ingest dedupe` as text. */

import { describeFault } from '../../db/any-table/unique-index.ts'
import { areLeftoversEmpty, describeLeftovers } from '../../db/dedupe/leftovers.ts'
import type { DedupeReport, DuplicateExample } from '../../db/dedupe/report.ts'
import { formatCount, formatDuration } from '../progress.ts'
import { formatTable } from '../table.ts'

/** No provider redelivers a message this often, so such an id is a word that an application wrote into the column. */
const SUSPICIOUS_COPIES = 50
const ID_WIDTH = 48

export function formatReport(report: DedupeReport, applyCommand: string): string {
  const sections = [
    headline(report),
    examples(report),
    copies(report),
    references(report),
    warnings(report),
    state(report, applyCommand),
    nextStep(report, applyCommand),
  ]
  return sections.filter((section) => section !== '').join('\n\n')
}

function headline({ table, column, groups, rows, rows_to_move }: DedupeReport): string {
  if (groups === 0) return `${table}.${column}: no id is there more than once.`
  return `${table}.${column}: ${count(groups, 'id')} there more than once, in ${count(rows, 'row')}; ${count(rows_to_move, 'row')} to move.`
}

function examples({ examples: shown, groups, key }: DedupeReport): string {
  if (shown.length === 0) return ''
  const rows = shown.map((one) => [shorten(one.id), one.kept, movedKeys(one)])
  const more = groups > shown.length ? [`… and ${count(groups - shown.length, 'id')} more`] : []
  return [formatTable([['id', `kept ${key.join(', ')}`, 'to move'], ...rows]), ...more].join('\n')
}

function movedKeys({ moved, copies: all }: DuplicateExample): string {
  const more = all - 1 - moved.length
  return moved.join(', ') + (more > 0 ? ` and ${formatCount(more)} more` : '')
}

function copies({ gaps, differences }: DedupeReport): string {
  const lines: string[] = []
  if (Object.keys(gaps).length > 0)
    lines.push(`A later copy has what the row to be kept lacks: ${byColumn(gaps)}. --merge takes it over.`)
  if (Object.keys(differences).length > 0) lines.push(`Copies differ otherwise: ${byColumn(differences)}.`)
  return lines.join('\n')
}

function byColumn(counts: Record<string, number>): string {
  return Object.entries(counts)
    .map(([name, ids]) => `${name} (${count(ids, 'id')})`)
    .join(', ')
}

function references({ references: all }: DedupeReport): string {
  if (all.length === 0) return ''
  const rows = all.map(({ name, rows: referring, on_delete, is_indexed }) => [
    name,
    formatCount(referring),
    `on delete ${on_delete}`,
    is_indexed ? '' : 'gets an index for the run',
  ])
  return formatTable([['foreign key', 'rows to re-point', '', ''], ...rows])
}

function warnings(report: DedupeReport): string {
  const { largest, long_ids, delete_triggers, leftovers, column, table } = report
  const lines: string[] = []
  for (const { name, conflicts, constraint } of report.references) {
    if (conflicts > 0)
      lines.push(
        `${count(conflicts, 'row')} of ${name} (${constraint}) would be there twice after re-pointing: those ids are left as they are. Remove one of the two rows first.`,
      )
  }
  if (largest && largest.copies > SUSPICIOUS_COPIES)
    lines.push(
      `${JSON.stringify(shorten(largest.id))} is in ${count(largest.copies, 'row')}. If that is no message id, run first: UPDATE ${table} SET ${column} = NULL WHERE ${column} = '${largest.id.replaceAll("'", "''")}'`,
    )
  if (long_ids > 0)
    lines.push(
      `${count(long_ids, 'id')} longer than 512 bytes; beyond about 2,700 bytes an index takes none.`,
    )
  if (delete_triggers.length > 0)
    lines.push(`Moving a row fires the triggers for DELETE: ${delete_triggers.join(', ')}.`)
  if (!areLeftoversEmpty(leftovers))
    lines.push(
      `An earlier run was stopped and left ${describeLeftovers(leftovers)}; --apply goes on with it.`,
    )
  return lines.map((line) => `! ${line}`).join('\n')
}

function state(
  { index, table, size, quarantined, estimated_seconds, groups }: DedupeReport,
  apply: string,
): string {
  const fault = describeFault(index, table, apply)
  const lines = [
    fault === undefined
      ? `The unique index ${index.name} is valid.`
      : `${capitalize(fault.split('; run:')[0] ?? '')}.`,
    `Table and indexes: ${formatBytes(size.bytes)}${size.estimated_rows > 0 ? `, about ${formatCount(Math.round(size.estimated_rows))} rows` : ''}.`,
  ]
  if (quarantined > 0)
    lines.push(`${count(quarantined, 'row')} in chat_messages_duplicates from earlier runs.`)
  if (groups > 0 || fault !== undefined)
    lines.push(`Estimated time: ${formatDuration(estimated_seconds * 1_000)}.`)
  return lines.join('\n')
}

function nextStep({ obstacles, index, groups }: DedupeReport, applyCommand: string): string {
  if (groups === 0 && index.fault === undefined) return 'There is nothing to do.'
  if (obstacles.length > 0)
    return ['Nothing was changed. Before it can be done:', ...obstacles.map((one) => `  - ${one}`)].join('\n')
  const flag = index.fault === 'other_definition' ? ' --replace-index' : ''
  return `Nothing was changed. To do it: ${applyCommand}${flag}`
}

function count(number: number, noun: string): string {
  return `${formatCount(number)} ${noun}${number === 1 ? '' : 's'}`
}

function shorten(id: string): string {
  return id.length <= ID_WIDTH ? id : `${id.slice(0, ID_WIDTH - 1)}…`
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function formatBytes(bytes: number): string {
  if (bytes < 1_000_000) return `${Math.round(bytes / 1_000)} kB`
  if (bytes < 1_000_000_000) return `${(bytes / 1_000_000).toFixed(1)} MB`
  return `${(bytes / 1_000_000_000).toFixed(1)} GB`
}
