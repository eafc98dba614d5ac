import { parseExact } from '../../core/json-text.ts'
import { present } from '../present.ts'
import type { MetaContext, MetaPart } from './envelope.ts'
import { isObject, object, scalar, text } from './json-reader.ts'

const PARTS: readonly unknown[] = [
  'entry',
  'change',
  'chunk',
  'message',
  'status',
  'echo',
  'history',
  'other',
] satisfies MetaPart[]

/**
 * The context of an event: what parse.ts wrote, but it may have been through a jsonb column since.
 * @throws SyntaxError when the text is not JSON.
 */
export function readContext(json: string | undefined): MetaContext {
  if (json === undefined) return {}
  const {
    object: name,
    entry_time,
    metadata,
    contact,
    list,
    is_standby,
    thread_id,
    part,
  } = object(parseExact(json))
  return present<MetaContext>({
    object: text(name),
    entry_time: scalar(entry_time),
    metadata: isObject(metadata) ? metadata : undefined,
    contact: isObject(contact) ? contact : undefined,
    list: text(list),
    is_standby: is_standby === true ? true : undefined,
    thread_id: scalar(thread_id),
    part: isPart(part) ? part : undefined,
  })
}

function isPart(value: unknown): value is MetaPart {
  return PARTS.includes(value)
}
