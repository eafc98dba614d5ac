/**
 * Counts wrong passwords for each address.
 *
 * Only wrong ones count: any number of requests with the right password is accepted. A blocked address is refused
 * before its password is checked, even if it is right; otherwise guessing could go on at full speed. Other addresses
 * are not affected. Checking and counting happen in one turn of the event loop, so parallel guesses have no advantage.
 */

/** Limits the memory during a scan from many addresses to about 1 MB. */
const MAX_ADDRESSES = 10_000

export type WrongPasswordLimit = {
  /** Seconds until this address may try again; 0 when it may. */
  blockedSeconds(address: string): number
  /** Counts one wrong password. Returns true if this one blocks the address. */
  count(address: string): boolean
}

export type WrongPasswordLimitOptions = {
  /** This many wrong passwords within a window block the address until the end of the window. */
  maxWrong: number
  windowMs: number
  /** A monotonic clock in milliseconds. */
  now: () => number
}

export function createWrongPasswordLimit(options: WrongPasswordLimitOptions): WrongPasswordLimit {
  const { maxWrong, windowMs, now } = options
  const windows = new Map<string, { wrong: number; endsAt: number }>()

  /** All windows have the same length, so the map is ordered by their ends, too. */
  function removeEnded(): void {
    for (const [address, { endsAt }] of windows) {
      if (endsAt > now() && windows.size < MAX_ADDRESSES) return
      windows.delete(address)
    }
  }

  return {
    blockedSeconds(address) {
      const window = windows.get(address)
      if (window === undefined || window.wrong < maxWrong) return 0
      return Math.max(0, Math.ceil((window.endsAt - now()) / 1000))
    },
    count(address) {
      removeEnded()
      const window = windows.get(address) ?? { wrong: 0, endsAt: now() + windowMs }
      window.wrong++
      windows.set(address, window)
      return window.wrong === maxWrong
    },
  }
}
