/** SIGINT (Ctrl-C) and SIGTERM: the first signal asks the process to stop, the second one ends it at once. */

/** Under npm one Ctrl-C arrives twice, from the terminal and from npm. Only a later signal counts as the second. */
const SECOND_SIGNAL_AFTER_MS = 500

/** The exit codes that a shell reports for a process ended by a signal: 128 plus the signal's number. */
export const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const
export type StopSignal = keyof typeof EXIT_CODES

export type ProcessSignals = {
  /** Aborts at the first signal, whose name is `signal.reason`. */
  signal: AbortSignal
  /** Stops listening, so that a signal ends the process again. */
  dispose(): void
}

export function listenForSignals(): ProcessSignals {
  const controller = new AbortController()
  let firstAt: number | undefined
  const onSignal = (name: StopSignal) => {
    if (firstAt === undefined) {
      firstAt = performance.now()
      controller.abort(name)
    } else if (performance.now() - firstAt > SECOND_SIGNAL_AFTER_MS) {
      process.exit(EXIT_CODES[name])
    }
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return {
    signal: controller.signal,
    dispose() {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
    },
  }
}
