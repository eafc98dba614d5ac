/** A promise did not settle in time. Its work goes on and may still succeed. */
export class DeadlineError extends Error {
  override name = 'DeadlineError'
}

/** Rejects with a DeadlineError after `timeoutMs`. The promise goes on; if it rejects later, that is ignored. */
export function withDeadline<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new DeadlineError(`${what} took longer than ${timeoutMs} ms`)),
      timeoutMs,
    )
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (err) => {
        clearTimeout(timer)
        reject(err)
      },
    )
  })
}
