import { setTimeout as delay } from 'node:timers/promises'
import { classifyWriteFailure, SQLSTATE, sqlStateOf } from './errors.ts'

/** Deadlocks and lost races pass by themselves; after more tries than this something else is wrong. */
const MAX_TRIES = 8

/**
 * Runs a transaction, and runs it again after a conflict with another one (SQLSTATE 40001, 40P01) or after losing the race
 * for a unique key (23505): the next run finds the winner's row.
 * @throws the error of the last try
 */
export async function retryConflicts<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run()
    } catch (err) {
      const isConflict =
        classifyWriteFailure(err) === 'conflict' || sqlStateOf(err) === SQLSTATE.UNIQUE_VIOLATION
      if (!isConflict || attempt === MAX_TRIES) throw err
      await delay(Math.random() * 20 * attempt)
    }
  }
}
