/**
 * Calls to something that may hang.
 *
 * At most one call is under way: callers that come meanwhile share it, and each waits at most `timeoutMs`. So a store
 * that hangs has one open call, and not one for every request.
 */
import { withDeadline } from '../core/deadline.ts'

export type SingleFlightOptions<T> = {
  call: () => Promise<T>
  timeoutMs: number
  /** For the error message: `<task> took longer than … ms`. */
  task: string
}

/** The returned function rejects with the error of `call`, or with a DeadlineError. */
export function createSingleFlight<T>({ call, timeoutMs, task }: SingleFlightOptions<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined

  async function start(): Promise<T> {
    try {
      return await call()
    } finally {
      underWay = undefined
    }
  }

  return () => {
    underWay ??= start()
    return withDeadline(underWay, timeoutMs, task)
  }
}
