/** How a job ends. `retry` is the only one after which the event is still on the queue. */
export const OUTCOMES = ['stored', 'duplicate', 'merged', 'parked', 'retry'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** An outcome that ends the job. */
export type FinalOutcome = Exclude<Outcome, 'retry'>
