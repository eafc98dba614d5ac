/** Ctrl-C and SIGTERM: the first asks the process to stop, a second one ends it where it stands. */

/** One Ctrl-C arrives twice under npm: from the terminal, and forwarded. Only a later one is a second one. */
const SECOND_SIGNAL_AFTER_MS = 500

/** What a shell reports of a process that a signal ended: 128 and the signal's number. */
export const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const
export type StopSignal = keyof typeof EXIT_CODES

export type ProcessSignals = {
  /** Aborts at the first signal, whose name is `signal.reason`. */
  signal: AbortSignal
  /** Gives the signals back to Node. */
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
