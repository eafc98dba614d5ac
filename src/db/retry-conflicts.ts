import { setTimeout as delay } from 'node:timers/promises'
import { classifyWriteFailure, SQLSTATE, sqlStateOf } from './errors.ts'

/** Deadlocks and lost races pass by themselves; after more tries than this something else is wrong. */
const MAX_TRIES = 8
/** Some transactions give way to one that holds a lock, and try until it has ended. */
const MIN_TIME_MS = 3_000

/**
 * Runs a transaction, and runs it again after a conflict with another one (SQLSTATE 40001, 40P01), for three seconds at least, or
 * after losing the race for a unique key (23505): the next run finds the winner's row.
 * @throws the error of the last try
 */
export async function retryConflicts<T>(run: () => Promise<T>): Promise<T> {
  const startedAt = performance.now()
  for (let attempt = 1; ; attempt++) {
    try {
      return await run()
    } catch (err) {
      const isLostRace = sqlStateOf(err) === SQLSTATE.UNIQUE_VIOLATION
      if (!isLostRace && classifyWriteFailure(err) !== 'conflict') throw err
      const isOver = isLostRace || performance.now() - startedAt >= MIN_TIME_MS
      if (attempt >= MAX_TRIES && isOver) throw err
      await delay(Math.random() * 20 * Math.min(attempt, MAX_TRIES))
    }
  }
}
