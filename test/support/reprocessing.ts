/** Webhooks in a database as the service stores them, and what the tests of `reprocess` ask of it. */
import type { InboundJob } from '../../src/core/event.ts'
import type { Fact } from '../../src/core/fact.ts'
import { createEventStore } from '../../src/db/ingest/event-store.ts'
import type { ReprocessOptions } from '../../src/db/reprocess/batches.ts'
import type { Parser } from '../../src/db/reprocess/messages.ts'
import { keptFields, normalize, reparse } from '../../src/providers/index.ts'
import { parseMetaWebhook } from '../../src/providers/meta/parse.ts'
import { parseTwilioWebhook } from '../../src/providers/twilio/parse.ts'
import type { TestDatabase } from './postgres.ts'
import { type TwilioForm, twilioWebhook } from './twilio-webhooks.ts'

export const RECEIVED_AT = Date.parse('2026-06-01T12:00:00Z')

export const PARSER: Parser = { reparse, normalize, keptFields }

export function metaJobs(body: unknown): InboundJob[] {
  return parseMetaWebhook(Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body)), RECEIVED_AT)
}

export function twilioJobs(form: TwilioForm | Buffer, url?: string): InboundJob[] {
  return parseTwilioWebhook(twilioWebhook(form, { received_at: RECEIVED_AT, ...(url ? { url } : {}) }))
}

/** Stores jobs as what a release made of them: this one, unless `factOf` says otherwise. */
export async function storeJobs(
  { db }: TestDatabase,
  jobs: readonly InboundJob[],
  factOf: (job: InboundJob) => Fact = ({ event }) => normalize(event),
): Promise<void> {
  const store = createEventStore({ db })
  const results = await Promise.all(jobs.map((job) => store.store({ ...job, fact: factOf(job) })))
  for (const result of results) if (result.outcome === 'retry') throw result.cause
}

export function reprocessOptions(options: Partial<ReprocessOptions> = {}): ReprocessOptions {
  return {
    batchSize: 500,
    isDryRun: false,
    signal: new AbortController().signal,
    onProgress: () => {},
    ...options,
  }
}

/** Everything in these tables, as text. */
export async function dump({ pool }: TestDatabase, ...tables: string[]): Promise<string[]> {
  const rows = await Promise.all(
    tables.map((table) => pool.query(`SELECT '${table} ' || t::text AS row FROM ${table} t ORDER BY 1`)),
  )
  return rows.flatMap((result) => result.rows.map(({ row }) => row))
}

export const EVERYTHING = [
  'contacts',
  'contact_identifiers',
  'conversations',
  'chat_messages',
  'message_statuses',
  'webhook_events',
  'changes',
] as const
