/**
 * The data of a job that Bull Board may show: enough to see what the job is and why it failed, and no content of
 * messages.
 *
 * The job id is shown unchanged, because the admin retries jobs and finds their rows by it. A wamid contains the
 * contact's phone number in base64, so a screenshot of Bull Board is personal data.
 */
import { maskText } from '../logger/mask.ts'

/** Fields whose values are words of this project and no content. */
const SHOWN_FIELDS = ['v', 'kind', 'provider', 'field', 'received_at'] as const

/** Fields of which only the size is shown. */
const SIZED_FIELDS = ['payload', 'context'] as const

export function summarizeJobData(data: unknown): Record<string, unknown> {
  if (typeof data !== 'object' || data === null) return { hidden: sizeOf(data) }
  const fields = new Map<string, unknown>(Object.entries(data))
  const summary: Record<string, unknown> = {}
  for (const field of SHOWN_FIELDS) if (fields.has(field)) summary[field] = shownValue(fields.get(field))
  for (const field of SIZED_FIELDS)
    if (fields.has(field)) summary[`${field}_bytes`] = sizeOf(fields.get(field))
  const park = fields.get('park')
  if (typeof park === 'string') summary.park = maskText(park)
  const shown = new Set<string>([...SHOWN_FIELDS, ...SIZED_FIELDS, 'park'])
  const hidden = [...fields.keys()].filter((field) => !shown.has(field))
  return hidden.length === 0 ? summary : { ...summary, hidden }
}

/** Results and progress of our jobs are words and numbers. An object could have content, so only its size is shown. */
export function summarizeResult(result: unknown): unknown {
  if (typeof result === 'string') return maskText(result)
  if (typeof result === 'object' && result !== null) return { hidden_bytes: sizeOf(result) }
  return result
}

function shownValue(value: unknown): unknown {
  if (typeof value === 'number') return value
  return typeof value === 'string' && /^[\w.-]{1,64}$/.test(value) ? value : '…'
}

function sizeOf(value: unknown): number {
  return Buffer.byteLength(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
}
