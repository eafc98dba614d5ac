/** Something about the table or the database stands against it. The message gives the reason and the next step. */
export class DedupeError extends Error {
  override name = 'DedupeError'
}
