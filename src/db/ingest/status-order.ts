/** The order of statuses in SQL: by the ranks of src/core/status.ts, then by name; no status comes first. */

/**
 * SQL: the place of `status` in that order, to be compared with another one. It is a total order, so the greatest of several
 * statuses does not depend on the order in which they arrive. A word without a rank comes after no status and before all others.
 */
export function statusOrder(status: string): string {
  return `(coalesce(wa_status_rank(${status}), -1), coalesce(${status}, '') COLLATE "C")`
}
