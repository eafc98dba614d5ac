/** What is stored of an event that parse.ts made of a Meta webhook. */
import type { WebhookEvent } from '../../core/event.ts'
import type { Fact } from '../../core/fact.ts'
import { parseExact } from '../../core/json-text.ts'
import { readContext } from './context.ts'
import { isObject } from './json-reader.ts'
import { messageFact } from './messages.ts'
import { otherFact } from './other-events.ts'
import { statusFact } from './statuses.ts'

/** See `Normalize`. */
export function normalizeMeta(event: WebhookEvent): Fact {
  if (event.park !== undefined) return { kind: 'parked', reason: event.park }
  if (event.kind === 'unreadable') return { kind: 'parked', reason: 'unreadable' }
  try {
    return factOf(event)
  } catch (err) {
    return {
      kind: 'parked',
      reason: `cannot be understood: ${err instanceof Error ? err.message : String(err)}`,
    }
  }
}

function factOf(event: WebhookEvent): Fact {
  const payload = parseExact(event.payload)
  const context = readContext(event.context)
  if (event.kind === 'other') return otherFact(event, payload, context)
  if (!isObject(payload)) return { kind: 'parked', reason: `${event.kind} is not an object` }
  switch (event.kind) {
    case 'message':
    case 'echo':
    case 'history':
      return messageFact({ ...event, kind: event.kind }, payload, context)
    case 'status':
      return statusFact(event, payload, context)
    case 'unreadable':
      return { kind: 'parked', reason: 'unreadable' }
  }
}
