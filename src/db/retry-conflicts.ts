import { setTimeout as delay } from 'node:timers/promises'
import { classifyWriteFailure, SQLSTATE, sqlStateOf } from './errors.ts'

/** Deadlocks and lost races end by themselves; more tries than this mean something else is wrong. */
const MAX_TRIES = 8

/**
 * Runs a transaction again that met another one (40001, 40P01), or that lost the race for a unique key (23505): the next
 * run finds the row of the winner.
 * @throws what the last try threw.
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
