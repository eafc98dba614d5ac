import { createJobIds } from '../../../src/core/job-id.ts'
import type { MessageIds } from '../../../src/providers/provider.ts'

const ID = 'PGN-[A-Za-z0-9]{8,60}'

export const PIGEON_MESSAGE_IDS: MessageIds = { own: `^${ID}$`, plain: ID }

export const pigeonJobIds = createJobIds(ID)
