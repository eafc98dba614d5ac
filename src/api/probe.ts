/**
 * Asking something that may be away.
 *
 * The answer is awaited for a limited time only, and while an earlier question is still unanswered no further one is
 * asked: a store that hangs collects one open question, not one for every request that wants to know.
 */
import { withDeadline } from '../core/deadline.ts'

export type ProbeOptions<T> = {
  ask: () => Promise<T>
  timeoutMs: number
  /** For the error message: `<what> took longer than … ms`. */
  what: string
}

/** Returns a function that asks. It rejects with what `ask` rejects with, or with a DeadlineError. */
export function createProbe<T>(options: ProbeOptions<T>): () => Promise<T> {
  let unanswered: Promise<T> | undefined

  async function ask(): Promise<T> {
    try {
      return await options.ask()
    } finally {
      unanswered = undefined
    }
  }

  return () => {
    unanswered ??= ask()
    return withDeadline(unanswered, options.timeoutMs, options.what)
  }
}
