/**
 * Preloaded into a process (`node --import`): its wall clock jumps at every SIGUSR2, an hour ahead, two hours back, and so
 * on. Timers and `performance.now()` go on evenly, as they do when a real clock is set.
 */
const HOUR = 3_600_000
const JUMPS = [HOUR, -2 * HOUR, 3 * HOUR, -2 * HOUR]

const RealDate = Date
let offsetMs = 0
let jumps = 0

class WrongDate extends RealDate {
  // biome-ignore lint/suspicious/noExplicitAny: the many signatures of Date
  constructor(...args: any[]) {
    if (args.length === 0) super(RealDate.now() + offsetMs)
    else super(...(args as [number]))
  }

  static override now(): number {
    return RealDate.now() + offsetMs
  }
}

globalThis.Date = WrongDate as DateConstructor
process.on('SIGUSR2', () => {
  offsetMs += JUMPS[jumps++ % JUMPS.length] ?? 0
})
