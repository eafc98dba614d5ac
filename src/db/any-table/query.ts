/** Running SQL whose text depends on somebody else's table, on a connection of either driver. */
import { CompiledQuery, type QueryResult as KyselyResult } from 'kysely'
import type { ClientBase, QueryResultRow } from 'pg'

export type QueryResult<Row> = {
  rows: Row[]
  /** Rows that the statement returned or changed. */
  count: number
}

/** Runs one statement. What it may do, and where, is the business of whoever made it. */
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

/** Kysely, or a transaction of it, whatever tables it knows. */
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
