/** Runs SQL that is put together for a table of any shape, on a connection of pg or of Kysely. */
import { CompiledQuery, type QueryResult as KyselyResult } from 'kysely'
import type { ClientBase, QueryResultRow } from 'pg'

export type QueryResult<Row> = {
  rows: Row[]
  /** Rows that the statement returned or changed. */
  count: number
}

/** Runs one statement on one connection. */
export type Query = <Row extends QueryResultRow>(
  text: string,
  values?: readonly unknown[],
) => Promise<QueryResult<Row>>

export function queryWithClient(client: Pick<ClientBase, 'query'>): Query {
  return async <Row extends QueryResultRow>(text: string, values: readonly unknown[] = []) => {
    const { rows, rowCount } = await client.query<Row>(text, [...values])
    return { rows, count: rowCount ?? 0 }
  }
}

/** Kysely or one of its transactions, whatever its tables. */
type Executor = { executeQuery<Row>(query: CompiledQuery<Row>): Promise<KyselyResult<Row>> }

export function queryWithKysely(db: Executor): Query {
  return async <Row extends QueryResultRow>(text: string, values: readonly unknown[] = []) => {
    const { rows, numAffectedRows } = await db.executeQuery<Row>(CompiledQuery.raw(text, [...values]))
    return { rows, count: Number(numAffectedRows ?? rows.length) }
  }
}

/** Runs `work` in a transaction of the connection that `query` uses; rolls back when `work` throws. */
export async function inTransaction<Result>(
  query: Query,
  work: (query: Query) => Promise<Result>,
): Promise<Result> {
  await query('BEGIN')
  try {
    const result = await work(query)
    await query('COMMIT')
    return result
  } catch (err) {
    await query('ROLLBACK').catch(() => {})
    throw err
  }
}
