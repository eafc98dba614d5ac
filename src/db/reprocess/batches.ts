/**
 * Walking through a table by id, for work that may be stopped at any time and begun again from the start.
 *
 * Batches are bounded in bytes too: a payload can have megabytes.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../schema.ts'

export type ReprocessOptions = {
  /** Most rows read at a time. */
  batchSize: number
  /** Most bytes of payload read at a time, or one row that has more; 16 MB unless given. */
  maxBatchBytes?: number
  /** Only what was received from then on. */
  since?: Date | undefined
  /** Count only. */
  isDryRun: boolean
  signal: AbortSignal
  onProgress: (examined: number) => void
}

const MAX_BATCH_BYTES = 16 * 1024 * 1024

/** Calls `work` with every row that `rows` selects beyond an id, in the order of ids. Stops between two batches. */
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

/** As many of the rows as fit, and always the first. */
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
