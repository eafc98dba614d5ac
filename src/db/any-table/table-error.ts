/** The table or the database does not allow what was asked. The message gives the reason and the next step. */
export class TableError extends Error {
  override name = 'TableError'
}
