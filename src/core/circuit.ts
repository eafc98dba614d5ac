/**
 * A circuit breaker: after a failure nobody tries again for `coolDownMs`; then one does, and the others follow only if it
 * succeeds. Without it every request would wait for its own time-out while a store is away, and requests would pile up.
 */
export type Circuit = {
  /** Whether to try now. True makes the caller the one that tries: report `succeed` or `fail`. */
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
      // The next probe is due when this one has had its chance, also if it never reports.
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
