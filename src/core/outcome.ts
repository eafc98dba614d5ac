/** How a job ends. `retry` is the only one after which the event is still on the queue. */
export type Outcome = 'stored' | 'duplicate' | 'merged' | 'parked' | 'retry'

/** An outcome that ends the job. */
export type FinalOutcome = Exclude<Outcome, 'retry'>
