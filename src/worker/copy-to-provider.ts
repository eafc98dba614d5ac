/**
 * Copies the file of a message to a provider that wants it before the message. Meanwhile the message is `queued`, so
 * whatever happens here, it was certainly not sent.
 */
import { openAsBlob } from 'node:fs'
import path from 'node:path'
import type { Kysely } from 'kysely'
import type { CopyResult, OutboundMessage } from '../core/outbound.ts'
import { PROVIDER_COPY } from '../core/send-policy.ts'
import type { SendOutcome } from '../db/outbox/change-status.ts'
import type { Claim } from '../db/outbox/claim.ts'
import { extendCopyClaim, releaseCopyClaim } from '../db/outbox/provider-copies.ts'
import { recordCopyResult } from '../db/outbox/record-copy-result.ts'
import type { Database } from '../db/schema.ts'
import { runEvery } from '../lifecycle/run-every.ts'
import type { Senders } from '../providers/index.ts'

export type CopyDeps = {
  db: Kysely<Database>
  senders: Senders
  uploadFolder: string
  /** Aborts when the process is to stop: another worker copies the file then. */
  stop: AbortSignal
  copyTimeoutMs?: number | undefined
}

export type CopyReport = {
  message_id: string
  provider: string
  result: CopyResult['kind'] | 'stopped'
  outcome?: SendOutcome | 'copied'
  code?: number | string
  durationMs: number
}

/** @throws when the database is away; then another worker copies the file. */
export async function copyToProvider(deps: CopyDeps, claim: Claim): Promise<CopyReport> {
  const { db, senders, stop } = deps
  const { message } = claim
  const startedAt = performance.now()
  const describe = (outcome: Pick<CopyReport, 'result' | 'outcome' | 'code'>) => ({
    message_id: message.message_id,
    provider: message.provider,
    ...outcome,
    durationMs: performance.now() - startedAt,
  })
  const result = await whileAlive(db, message, () => copy(deps, message))
  if (result.kind !== 'copied' && stop.aborted) {
    await releaseCopyClaim(db, message)
    return describe({ result: 'stopped' })
  }
  const outcome = await recordCopyResult(db, claim, result, senders[message.provider]?.credentialDigest ?? '')
  return describe({
    result: result.kind,
    outcome,
    ...('error' in result ? { code: result.error.code } : {}),
  })
}

async function copy(
  { senders, uploadFolder, stop, copyTimeoutMs = PROVIDER_COPY.timeoutMs }: CopyDeps,
  { provider, business_number, upload }: OutboundMessage,
): Promise<CopyResult> {
  const copyFile = senders[provider]?.copyFile
  if (copyFile === undefined || upload === undefined) throw new Error(`${provider} takes no uploads`)
  const content = await openFile(path.join(uploadFolder, upload.id), upload.mime_type)
  if (content?.size !== upload.size_bytes) return NOT_HERE
  const filename = upload.filename ?? upload.id
  const signal = AbortSignal.any([stop, AbortSignal.timeout(copyTimeoutMs)])
  return copyFile({ business_number, content, filename }, signal)
}

async function openFile(file: string, type: string): Promise<Blob | undefined> {
  try {
    return await openAsBlob(file, { type })
  } catch {
    return undefined
  }
}

const NOT_HERE: CopyResult = {
  kind: 'not_sent',
  reason: 'file_missing',
  error: {
    code: 'upload_not_here',
    message: 'the uploaded file is not in MEDIA_DIR of this worker: all processes have to share it',
  },
}

async function whileAlive<T>(
  db: Kysely<Database>,
  message: OutboundMessage,
  run: () => Promise<T>,
): Promise<T> {
  const done = new AbortController()
  // While the database is away the claim may end, and another worker copies too, which does no harm.
  const alive = runEvery(
    PROVIDER_COPY.extendEveryMs,
    () => extendCopyClaim(db, message),
    done.signal,
    () => {},
  )
  try {
    return await run()
  } finally {
    done.abort()
    await alive
  }
}
