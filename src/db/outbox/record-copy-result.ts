/** Records the result of copying a file to the provider. The message that needs the copy is still `queued`. */
import type { Kysely } from 'kysely'
import type { CopyResult } from '../../core/outbound.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import { changeStatus, type SendOutcome } from './change-status.ts'
import { confirmSender, passTrialOn } from './circuit-breaker.ts'
import { type Claim, callOf } from './claim.ts'
import { releaseCopyClaim, storeCopy } from './provider-copies.ts'
import { recordNotSent } from './record-not-sent.ts'

/**
 * `copied`: the message can be claimed. Otherwise it waits or has failed; `superseded`: its row has changed meanwhile.
 */
export async function recordCopyResult(
  db: Kysely<Database>,
  claim: Claim,
  result: CopyResult,
  credentialDigest: string,
): Promise<SendOutcome | 'copied'> {
  return retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      if (result.kind === 'copied') {
        await storeCopy(trx, claim.message, result.media_id)
        await passTrialOn(trx, callOf(claim))
        return 'copied'
      }
      await releaseCopyClaim(trx, claim.message)
      if (result.kind !== 'failed') return recordNotSent(trx, claim, result, credentialDigest, ['queued'])
      await confirmSender(trx, callOf(claim))
      const failed = { from: ['queued'], to: 'failed', error: result.error } as const
      return (await changeStatus(trx, claim, failed)) ?? 'superseded'
    }),
  )
}
