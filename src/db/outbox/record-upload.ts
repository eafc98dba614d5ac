/** What giving a provider a file has come to. The message that waits for it is still `queued`. */
import type { Kysely } from 'kysely'
import type { CopyResult } from '../../core/outbound.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import type { Claim } from './claim.ts'
import { moveMessage, type Settled, settleNotSent } from './record-result.ts'
import { keepCopy, leaveCopying } from './upload-copies.ts'

/** The message can be claimed now, or waits, or has failed. `superseded`: it is no longer what it was. */
export async function settleUpload(
  db: Kysely<Database>,
  claim: Claim,
  result: CopyResult,
  credential: string,
): Promise<Settled | 'copied'> {
  return retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      if (result.kind === 'copied') {
        await keepCopy(trx, claim.message, result.media_id)
        return 'copied'
      }
      await leaveCopying(trx, claim.message)
      if (result.kind !== 'failed') return settleNotSent(trx, claim, result, credential, ['queued'])
      const failed = { from: ['queued'], to: 'failed', error: result.error } as const
      return (await moveMessage(trx, claim, failed)) ?? 'superseded'
    }),
  )
}
