/**
 * The fields that a log line may hold. Numbers and booleans pass. Text passes only under a name on this list; a list of
 * forbidden names would miss a field that is added later. Other text is logged as `[not listed]`: when it is safe, add its
 * name to the list.
 */
import { providerTextFields } from '../config/describe-config.ts'
import { maskWaMessageId } from './mask.ts'
import { serializeError } from './serialize-error.ts'

/** Add no field that holds the content of a message, or a contact's number, name or id. */
const TEXT_FIELDS = new Set([
  ...providerTextFields(),
  'actual',
  'address',
  'admin_user',
  'advice',
  'application_name',
  'backend',
  'batch_id',
  'business_number',
  'circuit',
  'command',
  'constraint',
  'contact_id',
  'conversation_id',
  'created_at',
  'data_dir',
  'database',
  'database_direct',
  'dependency',
  'detail',
  'direction',
  'event_id',
  'event_kind',
  'expected',
  'field',
  'file',
  'finding',
  'generated',
  'host',
  'hostname',
  'index',
  'kind',
  'log_level',
  'media_dir',
  'message_id',
  'message_type',
  'method',
  'migration',
  'mode',
  'next_step',
  'node_version',
  'outcome',
  'parts',
  'path',
  'phone_number_id',
  'process',
  'provider',
  'public_url',
  'queue',
  'reason',
  'received_at',
  'request_id',
  'result',
  'route',
  'run_id',
  'setting',
  'severity',
  'signal',
  'sqlstate',
  'state',
  'status',
  'step',
  'store',
  'table',
  'task',
  'trust_proxy',
  'version',
  'worker_id',
])

/** Ids that are, or contain, a wamid. */
const MASKED_FIELDS = new Set(['wa_message_id', 'wa_message_ids', 'job_id', 'job_ids', 'event_key'])

const NOT_LISTED = '[not listed]'
const MAX_TEXT_LENGTH = 500
const MAX_ITEMS = 50
const MAX_DEPTH = 4

export type SafeFieldOptions = { showWaMessageIds: boolean }

/** The fields of a log line without personal data and secrets. */
export function safeFields(
  fields: Record<string, unknown>,
  options: SafeFieldOptions,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, safeValue(name, value, options, 0)]),
  )
}

function safeValue(name: string, value: unknown, options: SafeFieldOptions, depth: number): unknown {
  if (value instanceof Error || name === 'err') return serializeError(value)
  if (typeof value === 'string') return safeText(name, value, options)
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return value.toISOString()
  if (depth >= MAX_DEPTH || ArrayBuffer.isView(value)) return NOT_LISTED
  if (Array.isArray(value))
    return value.slice(0, MAX_ITEMS).map((item) => safeValue(name, item, options, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, safeValue(key, item, options, depth + 1)]),
  )
}

function safeText(name: string, value: string, options: SafeFieldOptions): string {
  if (MASKED_FIELDS.has(name)) return options.showWaMessageIds ? value : maskWaMessageId(value)
  if (!TEXT_FIELDS.has(name)) return NOT_LISTED
  return value.length > MAX_TEXT_LENGTH ? `${value.slice(0, MAX_TEXT_LENGTH)}…` : value
}
