/**
 * The life of a process: it starts, runs until a signal or a failure, releases its resources, and ends by itself.
 *
 * A signal, a failure and an uncaught error all stop it in the same way: the AbortSignal stops intake and background tasks,
 * then the release stack closes the resources, last first, within its deadline. No code calls process.exit() to stop.
 */

import type { Logger } from '../logger/logger.ts'
import { listenForSignals } from './process-signals.ts'
import { createReleaseStack, type ReleaseStack } from './release-stack.ts'

/** Time after the release deadline until the process is ended by force: enough to start every release and write the log. */
const EXIT_GRACE_MS = 1_000

export type RunContext = {
  /** Aborts when the process is to stop: accept no new work from then on. */
  signal: AbortSignal
  /** Add each resource right after it was opened. */
  releases: ReleaseStack
  /** Stops the process with exit code 1, because it cannot go on. */
  fail(err: unknown): void
}

export type RunOptions = {
  log: Pick<Logger, 'info' | 'error' | 'fatal'>
  /** The whole release may take this long. */
  shutdownTimeoutMs: number
  /** Opens the resources; resolves when the process is ready. */
  start(context: RunContext): Promise<void>
  /** Stops the process when it aborts. Absent: this function listens to SIGINT and SIGTERM itself. */
  signal?: AbortSignal
}

/**
 * Runs until a signal or a failure, and returns the exit code: 0 after a clean stop, 1 otherwise.
 * @throws the error of `start`, after the resources that it had opened are released.
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
    // When the signal comes during the start, the start is not waited for.
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

/** The first failure is logged as the reason for the end; later ones are often only its consequences. */
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

/** Ends a stopped process that an open handle keeps alive. The timer is unref'd, so it does not keep the process alive itself. */
function forceExitAfter(ms: number, run: Run): void {
  setTimeout(() => {
    run.log.error('something was still open: ended by force')
    process.exit(1)
  }, ms).unref()
}
