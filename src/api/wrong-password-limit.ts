/**
 * Counts wrong passwords by where they come from.
 *
 * Only wrong ones count: any number of requests with the right password passes. A blocked address is refused before its
 * password is looked at, also when it is right; otherwise guessing would go on at full speed. Other addresses never
 * notice. Counting and checking happen in one turn of the event loop, so parallel guesses gain nothing.
 */

/** Bounds the memory that a scan from many addresses can take: about 1 MB. */
const MAX_ADDRESSES = 10_000

export type WrongPasswordLimit = {
  /** Seconds until this address may try again; 0 when it may. */
  blockedSeconds(address: string): number
  /** Counts one wrong password. True when this one blocks the address. */
  count(address: string): boolean
}

export type WrongPasswordLimitOptions = {
  /** This many wrong passwords within the window block the address until its end. */
  maxWrong: number
  windowMs: number
  /** A monotonic clock in milliseconds. */
  now: () => number
}

export function createWrongPasswordLimit(options: WrongPasswordLimitOptions): WrongPasswordLimit {
  const { maxWrong, windowMs, now } = options
  const windows = new Map<string, { wrong: number; endsAt: number }>()

  /** Windows are of one length, so the map's order of insertion is their order of ending. */
  function forgetEnded(): void {
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
      forgetEnded()
      const window = windows.get(address) ?? { wrong: 0, endsAt: now() + windowMs }
      window.wrong++
      windows.set(address, window)
      return window.wrong === maxWrong
    },
  }
}
