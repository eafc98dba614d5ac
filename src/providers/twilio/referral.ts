import type { Fields } from './fields.ts'

/** Sent on every message, `0` on those that no ad led to. */
const NO_REFERRAL = 'ReferralNumMedia'

/**
 * The ad that led to the message (click to WhatsApp), as JSON text with keys in Meta's spelling: ReferralSourceUrl is
 * `source_url`, ReferralCtwaClid is `ctwa_clid`. Undefined where no ad did.
 */
export function readReferral(fields: Fields): string | undefined {
  const referral = [...fields].filter(([name]) => /^Referral[A-Z]/.test(name))
  if (referral.every(([name]) => name === NO_REFERRAL)) return undefined
  return JSON.stringify(Object.fromEntries(referral.map(([name, value]) => [toKey(name), value])))
}

function toKey(name: string): string {
  return name
    .slice('Referral'.length)
    .replace(/(?!^)(?=[A-Z])/g, '_')
    .toLowerCase()
}
