import type { Kysely } from 'kysely'
import type { ProviderName } from '../core/event.ts'
import type { OutboundOptions } from '../db/outbox/create.ts'
import type { Database } from '../db/schema.ts'
import type { Stats } from '../db/views/stats.ts'
import type { Log } from './problem.ts'

/** What the JSON API works with. */
export type ApiDeps = {
  /** With connections of its own: a search that takes long must not hold up the writers. */
  db: Kysely<Database>
  stats: () => Promise<Stats>
  /** Our number at each provider where a message may start a conversation. */
  defaultNumbers: Partial<Record<ProviderName, string>>
  /** Where uploaded files are kept; every process that sends has to see the same. */
  uploadFolder: string
  refuseUpload: NonNullable<OutboundOptions['refuseUpload']>
  /** Tells the workers that this message waits to be sent. Never fails: the sweep finds it when the queue is away. */
  notifySend: (messageId: string) => void
  /** The same for the read receipt of this conversation. */
  notifyReceipt: (conversationId: string) => void
  /** Aborts when the process is to stop: streams end at once. */
  signal: AbortSignal
  log: Pick<Log, 'warn'>
}
