/** When which request is sent. Times are those of `performance.now()`. */
export type Schedule = {
  /** The next position, if its moment has come, and from when its latency counts. */
  take(now: number): { position: number; dueAt: number } | undefined
  isDue(now: number): boolean
  /** Nothing more will be taken. */
  isOver(now: number): boolean
  taken(): number
}

export type ScheduleOptions = {
  from: number
  to: number
  startedAt: number
  seconds?: number | undefined
  perSecond?: number | undefined
}

export function createSchedule({ from, to, startedAt, seconds, perSecond }: ScheduleOptions): Schedule {
  const endsAt = startedAt + (seconds ?? Number.POSITIVE_INFINITY) * 1_000
  let next = from
  const dueAt = (now: number) =>
    perSecond === undefined ? Math.max(now, startedAt) : startedAt + ((next - from) / perSecond) * 1_000
  const isOver = (now: number) => next >= to || now >= endsAt
  const isDue = (now: number) => !isOver(now) && dueAt(now) <= now
  return {
    take: (now) => (isDue(now) ? { dueAt: dueAt(now), position: next++ } : undefined),
    isDue,
    isOver,
    taken: () => next - from,
  }
}
