/**
 * Reads a table in batches, in the order of ids. Work on it can be stopped between two batches and started again.
 *
 * Batches are bounded in bytes too, because a payload can have megabytes.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../schema.ts'

export type ReprocessOptions = {
  /** Most rows read at a time. */
  batchSize: number
  /** Most bytes of payload read at a time; a row that has more is read alone. 16 MB unless given. */
  maxBatchBytes?: number
  /** Only rows that were received at or after this time. */
  since?: Date | undefined
  /** Count only. */
  isDryRun: boolean
  signal: AbortSignal
  onProgress: (examined: number) => void
}

const MAX_BATCH_BYTES = 16 * 1024 * 1024

/** Calls `work` with each batch of the rows that `rows` selects. Stops between two batches when the signal aborts. */
export async function forEachBatch<Row extends { id: string }>(
  db: Kysely<Database>,
  rows: (afterId: string) => RawBuilder<Row>,
  options: ReprocessOptions,
  work: (batch: Row[]) => Promise<void>,
): Promise<void> {
  const { signal, onProgress } = options
  let afterId = '0'
  for (let examined = 0; !signal.aborted; ) {
    const batch = await readBatch(db, rows(afterId), options)
    const last = batch.at(-1)
    if (last === undefined) return
    await work(batch)
    afterId = last.id
    examined += batch.length
    onProgress(examined)
  }
}

/** The first row, and those after it that fit. */
async function readBatch<Row>(
  db: Kysely<Database>,
  rows: RawBuilder<Row>,
  { batchSize, maxBatchBytes = MAX_BATCH_BYTES }: ReprocessOptions,
): Promise<Row[]> {
  const result = await sql<Row>`
    SELECT * FROM (
      SELECT b.*, sum(octet_length(coalesce(b.payload, '')) + octet_length(coalesce(b.raw, ''))) OVER (
        ORDER BY b.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ) AS bytes_before
      FROM (${rows} ORDER BY id LIMIT ${batchSize}) b
    ) c
    WHERE bytes_before IS NULL OR bytes_before < ${maxBatchBytes}
    ORDER BY id`.execute(db)
  return result.rows
}
