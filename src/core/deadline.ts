/** A promise that took longer than it may. What it stands for may still happen later. */
export class DeadlineError extends Error {
  override name = 'DeadlineError'
}

/** Rejects with a DeadlineError after `timeoutMs`; the promise itself goes on, and its late rejection is swallowed. */
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
