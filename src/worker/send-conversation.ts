/**
 * The tasks of the send worker: send what waits in a conversation, and copy the file that its oldest message needs. Each runs in
 * a slot of its sender (bulkheads.ts), and copies have slots of their own, because they take long.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { RATE_LIMIT } from '../core/send-policy.ts'
import { claimCopy, claimNext } from '../db/outbox/claim.ts'
import type { BulkheadTask, Slot } from './bulkheads.ts'
import { type CopyDeps, type CopyReport, copyToProvider } from './copy-to-provider.ts'
import { type SendDeps, type SendReport, sendMessage } from './send-message.ts'

/** `message_id`: any message of the conversation; the oldest one that waits is sent. */
export type ConversationTask = BulkheadTask & { message_id: string }

export type ConversationDeps = SendDeps &
  CopyDeps & {
    onSend(report: SendReport): void
    onCopy(report: CopyReport): void
    onUnsendable(messageId: string, code: number | string): void
  }

export type SendConversationDeps = ConversationDeps & {
  /** The oldest message waits for a copy of its file. */
  requestCopy(task: ConversationTask): void
}

/** Sends the waiting messages, oldest first, until none can be claimed. @throws when the database is away. */
export async function sendConversation(
  deps: SendConversationDeps,
  task: ConversationTask,
  slot: Slot,
): Promise<void> {
  const { db, stop } = deps
  const copiesTo = findCopyingProviders(deps)
  while (!stop.aborted) {
    const claimedAt = performance.now()
    const outcome = await claimNext(db, task.message_id, copiesTo)
    switch (outcome.kind) {
      case 'claimed': {
        slot.endWaitForToken()
        const report = await sendMessage(deps, outcome.claim, claimedAt)
        deps.onSend(report)
        if (report.result === 'unknown') return slot.reportDoubt()
        slot.reportAnswer()
        break
      }
      case 'unsendable':
        deps.onUnsendable(outcome.message_id, outcome.error.code)
        break
      case 'limited':
        if (!slot.mayWaitForToken()) return
        await waitForToken(outcome.waitMs, stop)
        break
      case 'needs_copy':
        return deps.requestCopy(task)
      case 'paused':
        return slot.dropWaiting()
      default:
        return
    }
  }
}

async function waitForToken(ms: number, stop: AbortSignal): Promise<void> {
  const waitMs = Math.min(ms, RATE_LIMIT.maxWaitMs) + Math.random() * RATE_LIMIT.spreadMs
  await delay(waitMs, undefined, { signal: stop }).catch(() => {})
}

export type CopyConversationDeps = ConversationDeps & {
  /** The oldest message can be claimed. */
  requestSend(task: ConversationTask): void
}

/** Copies the file of the oldest waiting message to the provider. @throws when the database is away. */
export async function copyForConversation(deps: CopyConversationDeps, task: ConversationTask): Promise<void> {
  if (deps.stop.aborted) return
  const outcome = await claimCopy(deps.db, task.message_id, findCopyingProviders(deps))
  if (outcome.kind === 'copy') deps.onCopy(await copyToProvider(deps, outcome.claim))
  else if (outcome.kind === 'unsendable') deps.onUnsendable(outcome.message_id, outcome.error.code)
  else if (outcome.kind !== 'ready') return
  deps.requestSend(task)
}

function findCopyingProviders({ senders }: ConversationDeps): string[] {
  return Object.entries(senders).flatMap(([name, { copyFile }]) => (copyFile === undefined ? [] : [name]))
}
