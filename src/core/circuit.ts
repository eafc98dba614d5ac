/**
 * A circuit breaker: after a failure it is open, and calls are refused for `coolDownMs`. Then one call is let through as a
 * trial (half-open); when it succeeds, the circuit closes. Without it every request would wait for its own time-out while a
 * store is away, and requests would pile up.
 */
export type Circuit = {
  /** Whether the caller may make the call. If true, it reports `succeed` or `fail` afterwards. */
  tryEnter(): boolean
  succeed(): void
  fail(): void
  isOpen(): boolean
}

export type CircuitOptions = { coolDownMs: number; now?: () => number }

export function createCircuit({ coolDownMs, now = () => performance.now() }: CircuitOptions): Circuit {
  let openUntil = 0
  let isOpen = false
  return {
    tryEnter: () => {
      if (!isOpen) return true
      if (now() < openUntil) return false
      // The next trial is allowed after another `coolDownMs`, also when this one never reports.
      openUntil = now() + coolDownMs
      return true
    },
    succeed: () => {
      isOpen = false
    },
    fail: () => {
      isOpen = true
      openUntil = now() + coolDownMs
    },
    isOpen: () => isOpen,
  }
}
