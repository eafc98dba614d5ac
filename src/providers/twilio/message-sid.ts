/** Ids of Twilio's messages: SM for text, MM with media. */
import { createJobIds } from '../../core/job-id.ts'
import type { MessageIds } from '../provider.ts'

const SID = '(?:SM|MM)[0-9a-fA-F]{32}'

export const TWILIO_MESSAGE_IDS: MessageIds = { own: `^${SID}$`, plain: SID }

export const MESSAGE_SID = new RegExp(TWILIO_MESSAGE_IDS.own)

export const twilioJobIds = createJobIds(TWILIO_MESSAGE_IDS.plain)
