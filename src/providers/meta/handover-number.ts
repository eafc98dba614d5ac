/** The number of ours that a handover is about: `recipient` names it, where everything else has `metadata`. */
import { phoneDigits } from '../../core/phone.ts'
import { first, type JsonObject, object, scalar } from './json-reader.ts'

export const HANDOVER_FIELD = 'messaging_handovers'

/** The id of the number; without one its digits. */
export function handoverNumber({ recipient }: JsonObject): string | undefined {
  const { phone_number_id, display_phone_number } = object(recipient)
  return first(scalar(phone_number_id), phoneDigits(scalar(display_phone_number) ?? ''))
}
