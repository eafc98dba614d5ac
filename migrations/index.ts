/** Every migration, by the name under which Kysely records it. Listed here so that nothing depends on reading a folder. */
import type { Migration } from 'kysely/migration'
import * as initial from './0001-initial.ts'
import * as outbound from './0002-outbound.ts'
import * as reading from './0003-reading.ts'
import * as backfill from './0004-backfill.ts'
import * as uploads from './0005-uploads.ts'
import * as contactGeneration from './0006-contact-generation.ts'
import * as boundedMerges from './0007-bounded-merges.ts'
import * as userIds from './0008-user-ids.ts'
import * as sendDoubts from './0011-send-doubts.ts'
import * as conversationControl from './0012-conversation-control.ts'
import * as splits from './0015-splits.ts'
import * as sendTrials from './0016-send-trials.ts'

export const migrations: Record<string, Migration> = {
  '0001-initial': initial,
  '0002-outbound': outbound,
  '0003-reading': reading,
  '0004-backfill': backfill,
  '0005-uploads': uploads,
  '0006-contact-generation': contactGeneration,
  '0007-bounded-merges': boundedMerges,
  '0008-user-ids': userIds,
  '0011-send-doubts': sendDoubts,
  '0012-conversation-control': conversationControl,
  '0015-splits': splits,
  '0016-send-trials': sendTrials,
}
