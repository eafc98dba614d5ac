/**
 * Handovers: which app answers in a conversation, when several share a number. One of them may be Meta Business Agent.
 *
 * `control_passed` goes to the new holder, `control_taken` to the app that has lost control. Apps have also been told of
 * what they took from the agent themselves, so a conversation that was the agent's is ours in either case.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messaging-handovers
 */
import type { WebhookEvent } from '../../core/event.ts'
import type { ControlChange } from '../../core/fact.ts'
import { present } from '../present.ts'
import type { MetaContext } from './envelope.ts'
import { handoverNumber } from './handover-number.ts'
import { contactRef, isIdentified } from './identity.ts'
import { first, idText, type JsonObject, object, text, unixTime } from './json-reader.ts'
import { businessNumber } from './metadata.ts'

/** The role of Meta Business Agent, and what Meta called it before. */
const AGENT = 'ai_agent'
const AGENT_ROLES = [AGENT, 'meta_business_agent', 'meta_ai']
/** The longest documented one has 16 letters. */
const MAX_ROLE_LENGTH = 64

/** Undefined where the value does not say who has control, of which conversation, or since when. */
export function controlChange(
  event: WebhookEvent,
  value: JsonObject,
  context: MetaContext,
): ControlChange | undefined {
  const { type, sender, timestamp } = value
  if (type !== 'control_passed' && type !== 'control_taken') return undefined
  const { phone_number, wa_id, user_id, parent_user_id } = object(sender)
  const contact = contactRef({ address: first(idText(phone_number), idText(wa_id)), user_id, parent_user_id })
  const at = unixTime(timestamp) ?? unixTime(context.entry_time)
  if (!isIdentified(contact) || at === undefined) return undefined
  const { new_owner_role, new_owner_app_role, previous_owner_role, previous_owner_app_role } = object(
    value[type],
  )
  const holder = roleOf(new_owner_role, new_owner_app_role)
  const previous = roleOf(previous_owner_role, previous_owner_app_role)
  const isGiven = type === 'control_passed' || previous === AGENT
  return present<ControlChange>({
    contact,
    business_number: handoverNumber(value) ?? businessNumber(event, context),
    holder: isGiven && holder !== AGENT ? 'self' : 'other',
    role: holder,
    // A time in the future would win against every later handover.
    at: new Date(Math.min(at.getTime(), event.received_at)),
  })
}

function roleOf(...words: unknown[]): string | undefined {
  const role = first(...words.map(text))?.toLowerCase()
  if (role === undefined || role.length > MAX_ROLE_LENGTH) return undefined
  return AGENT_ROLES.includes(role) ? AGENT : role
}
