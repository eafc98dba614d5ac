/** How far a step of an adoption is, in rows. */
export type AdoptProgress = { step: string; done: number; total: number; details?: string }
