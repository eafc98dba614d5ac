/**
 * The life of a process: start, run until told to stop, release everything, end by itself.
 *
 * A signal, a failure and an uncaught error all take the same way out: the AbortSignal stops intake and background tasks,
 * then the release stack closes what was opened, last first, within its deadline. Nobody calls process.exit() to stop.
 */

import type { Logger } from '../logger/logger.ts'
import { listenForSignals } from './process-signals.ts'
import { createReleaseStack, type ReleaseStack } from './release-stack.ts'

/** From the start of the release to the end by force; enough for every release to be begun and the log to be written. */
const EXIT_GRACE_MS = 1_000

export type RunContext = {
  /** Aborts when the process is to stop: take nothing new from here on. */
  signal: AbortSignal
  /** Whatever was opened goes in here, right after it was opened. */
  releases: ReleaseStack
  /** Something that the process cannot go on without has failed: stops it, with exit code 1. */
  fail(err: unknown): void
}

export type RunOptions = {
  log: Pick<Logger, 'info' | 'error' | 'fatal'>
  /** The whole release may take this long. */
  shutdownTimeoutMs: number
  /** Opens everything; resolves when the process is ready. */
  start(context: RunContext): Promise<void>
  /** Who aborts this one listens to the signals itself; without it they are listened to here. */
  signal?: AbortSignal
}

/**
 * Runs until a signal or a failure, and gives the exit code: 0 after a clean stop, 1 otherwise.
 * @throws what `start` threw, after everything that it had opened was released.
 */
export async function runUntilSignal(options: RunOptions): Promise<number> {
  const ownSignals = options.signal === undefined ? listenForSignals() : undefined
  const stop = new AbortController()
  const run: Run = { log: options.log, stop, hasFailed: false }
  const stopped = onceStopped(stop.signal, options.signal ?? ownSignals?.signal, stop)
  const releases = createReleaseStack({
    deadlineMs: options.shutdownTimeoutMs,
    onError: (err) => options.log.error({ err }, 'release failed'),
  })
  const uncaught = catchUncaught(run)
  try {
    const context = { signal: stop.signal, releases, fail: (err: unknown) => fail(run, err, 'failed') }
    const started = options.start(context)
    // A start that is still waiting for something when the signal comes is not waited for.
    await Promise.race([started, stopped])
    await stopped
    options.log.info({ reason: String(stop.signal.reason) }, 'stopping')
  } finally {
    stop.abort('start failed')
    if (ownSignals !== undefined) forceExitAfter(options.shutdownTimeoutMs + EXIT_GRACE_MS, run)
    await releases.releaseAll().catch(() => {
      run.hasFailed = true
    })
    uncaught.dispose()
    ownSignals?.dispose()
  }
  options.log.info('stopped')
  return run.hasFailed ? 1 : 0
}

type Run = { log: RunOptions['log']; stop: AbortController; hasFailed: boolean }

/** The first failure is the reason for the end; what fails after it is often only its consequence. */
function fail(run: Run, err: unknown, phrase: string): void {
  if (run.hasFailed) run.log.error({ err }, `${phrase} while stopping`)
  else run.log.fatal({ err }, phrase)
  run.hasFailed = true
  run.stop.abort('failure')
}

function onceStopped(own: AbortSignal, outer: AbortSignal | undefined, stop: AbortController): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  own.addEventListener('abort', () => resolve(), { once: true })
  const follow = () => stop.abort(nameOf(outer?.reason))
  if (outer?.aborted) follow()
  else outer?.addEventListener('abort', follow, { once: true })
  return promise
}

function nameOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason)
}

function catchUncaught(run: Run): { dispose(): void } {
  const onException = (err: unknown) => fail(run, err, 'uncaught exception')
  const onRejection = (err: unknown) => fail(run, err, 'unhandled rejection')
  process.on('uncaughtException', onException)
  process.on('unhandledRejection', onRejection)
  return {
    dispose() {
      process.off('uncaughtException', onException)
      process.off('unhandledRejection', onRejection)
    },
  }
}

/** A handle that somebody forgot must not keep a stopped process alive; unref'd, so it does not do so itself. */
function forceExitAfter(ms: number, run: Run): void {
  setTimeout(() => {
    run.log.error('something was still open: ended by force')
    process.exit(1)
  }, ms).unref()
}
