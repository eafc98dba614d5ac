/** The loads that every contender gets. */
export const WORKLOADS = [
  'single',
  'batch10',
  'mix',
  'redelivery50',
  'burst',
  'stall',
  'large-table',
] as const
export type WorkloadName = (typeof WORKLOADS)[number]

export type Workload = {
  name: WorkloadName
  summary: string
  /** Share of statuses among the events; the others are messages. */
  statusShare: number
  /** Events in one webhook. */
  batch: number
  /** How often each webhook is sent again. */
  redeliveries: number
  connections: number
  /**
   * - `closed`: as fast as the answers come, for as long as was asked for
   * - `burst`: the same, for a number of messages
   * - `stall`: paced, with PostgreSQL stopped in the middle
   */
  load: 'closed' | 'burst' | 'stall'
  /** The tables hold millions of rows before. */
  isLargeTable: boolean
  /** How many events are prepared for each second. A faster contender has sent them all before the time is over. */
  maxEventsPerSecond: number
}

const USUAL = {
  statusShare: 0,
  batch: 1,
  redeliveries: 0,
  connections: 64,
  load: 'closed',
  isLargeTable: false,
  maxEventsPerSecond: 8_000,
} as const

const DEFINITIONS: Record<WorkloadName, Partial<Workload> & Pick<Workload, 'summary'>> = {
  single: { summary: 'one message in each webhook' },
  batch10: { summary: 'ten messages in each webhook', batch: 10, maxEventsPerSecond: 20_000 },
  mix: { summary: 'three statuses to one message, in webhooks of one', statusShare: 0.75 },
  redelivery50: {
    summary: 'half of the webhooks are redeliveries',
    redeliveries: 1,
    maxEventsPerSecond: 5_000,
  },
  burst: { summary: 'everything at once, then silence', connections: 256, load: 'burst' },
  stall: { summary: 'at half of the rate of direct, PostgreSQL stopped in the middle', load: 'stall' },
  'large-table': {
    summary: 'single, with millions of rows already there',
    isLargeTable: true,
    maxEventsPerSecond: 5_000,
  },
}

export function workloadNamed(name: WorkloadName): Workload {
  return { ...USUAL, name, ...DEFINITIONS[name] }
}
