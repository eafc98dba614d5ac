import pg from 'pg'

/** The pool of a usual application, on DATABASE_URL. */
export function createAppPool(): pg.Pool {
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
  // Without a listener, an idle connection that breaks would end the process.
  pool.on('error', () => {})
  return pool
}
