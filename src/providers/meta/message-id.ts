/** Message ids as Meta's webhooks carry them: what can be stored under `wa_message_id`, and what cannot. */
import { MAX_WA_MESSAGE_ID_BYTES } from '../../core/event.ts'
import { createJobIds } from '../../core/job-id.ts'
import { keyProblem } from '../../core/storable-key.ts'
import type { MessageIds } from '../provider.ts'

/** A wamid is base64; older ones are base64url. */
export const META_MESSAGE_IDS: MessageIds = { own: '^wamid\\.', plain: 'wamid\\.[A-Za-z0-9+/=_-]{1,480}' }

export const metaJobIds = createJobIds(META_MESSAGE_IDS.plain)

/** Why this value is no id of a message, or undefined where it is one. */
export function messageIdProblem(id: unknown): string | undefined {
  if (id === undefined || id === null) return 'has no id'
  if (typeof id !== 'string') return 'has an id that is not a string'
  if (id === '') return 'has an empty id'
  const problem = keyProblem(id, MAX_WA_MESSAGE_ID_BYTES)
  return problem && `has an id ${problem}`
}

/** The id, where it can be stored as one. */
export function messageId(id: unknown): string | undefined {
  return typeof id === 'string' && messageIdProblem(id) === undefined ? id : undefined
}
