/**
 * Mutants that survive for a reason: no test can tell them from the original, or what they change is no promise. `line` and
 * `change` are as `npm run mutate` prints them. One that is noticed after all is reported, and goes.
 */
export type Accepted = { line: string; change: string; why: string }

export const ACCEPTED: Readonly<Record<string, readonly Accepted[]>> = {}
