/** The old schema cannot be taken over as it is; each reason ends with the next command. */
export class AdoptionError extends Error {
  override name = 'AdoptionError'
  readonly reasons: readonly string[]

  constructor(reasons: readonly string[], options?: ErrorOptions) {
    super(reasons.join('\n'), options)
    this.reasons = reasons
  }
}
