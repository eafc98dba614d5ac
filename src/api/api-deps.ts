import type { Kysely } from 'kysely'
import type { ProviderName } from '../core/event.ts'
import type { OutboundOptions } from '../db/outbox/create.ts'
import type { Database } from '../db/schema.ts'
import type { Stats } from '../db/views/stats.ts'
import type { FindMissingCredential } from '../providers/index.ts'
import type { ProviderDefinition } from '../providers/provider.ts'
import type { Log } from './problem.ts'

/** Everything that the JSON API uses. */
export type ApiDeps = {
  /** With connections of its own, so that a slow search does not delay the writers. */
  db: Kysely<Database>
  stats: () => Promise<Stats>
  /** Those that messages can be sent through. */
  providers: readonly ProviderDefinition[]
  /** Which setting a provider cannot send without. */
  findMissingCredential: FindMissingCredential
  /** Our number at each provider where a message may start a conversation. */
  defaultNumbers: Readonly<Record<ProviderName, string>>
  /** Folder of uploaded files; every process that sends must see the same folder. */
  uploadFolder: string
  refuseUpload: NonNullable<OutboundOptions['refuseUpload']>
  /** Tells the workers that this message waits to be sent. Never fails: the sweep finds it when the queue is away. */
  notifySend: (messageId: string) => void
  /** The same for the read receipt of this conversation. */
  notifyReceipt: (conversationId: string) => void
  /** Aborts when the process stops; streams then end at once. */
  signal: AbortSignal
  log: Pick<Log, 'warn'>
}
