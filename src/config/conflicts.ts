/** What is wrong between variables, each of which may be right by itself. */
import { isLoopback } from './loopback.ts'
import { trustProxy } from './value-formats.ts'
import type { VariableName } from './variables.ts'

/** Variables that are set, trimmed. */
export type SetVariables = Partial<Record<VariableName, string>>

/** Pairs of which the first is of no use without the second. */
const NEEDS: readonly (readonly [VariableName, VariableName])[] = [
  ['DATABASE_DIRECT_URL', 'DATABASE_URL'],
  ['REDIS_SENTINELS', 'REDIS_SENTINEL_NAME'],
  ['REDIS_SENTINEL_NAME', 'REDIS_SENTINELS'],
  ['META_PHONE_NUMBER_ID', 'META_ACCESS_TOKEN'],
  ['TWILIO_FROM', 'TWILIO_ACCOUNT_SID'],
  ['TWILIO_ACCOUNT_SID', 'TWILIO_AUTH_TOKEN'],
]

export function findHalfSetGroups(set: SetVariables): string[] {
  const problems = NEEDS.filter(([name, needed]) => has(set, name) && !has(set, needed)).map(
    ([name, needed]) => `${name} is set without ${needed}: set ${needed} too, or remove ${name}`,
  )
  if (has(set, 'REDIS_CLUSTER_NODES') && has(set, 'REDIS_SENTINELS'))
    problems.push('REDIS_CLUSTER_NODES and REDIS_SENTINELS are both set: Redis is one or the other')
  if (has(set, 'REDIS_CLUSTER_NODES') && has(set, 'REDIS_WAIT_REPLICAS'))
    problems.push('REDIS_WAIT_REPLICAS does not work with REDIS_CLUSTER_NODES: remove it')
  return problems
}

/**
 * Is the service one that others can reach, so that its secrets must be chosen by its owner? Then: why. One that listens on
 * loopback is, too, where a proxy in front of it lets others in, and that is how it should be run.
 */
export function whySecretsAreNeeded(set: SetVariables): string | undefined {
  if (set.NODE_ENV === 'production') return 'NODE_ENV is production'
  if (set.HOST !== undefined && !isLoopback(set.HOST)) return 'HOST lets other machines in'
  if (set.PUBLIC_URL !== undefined && !isLoopback(URL.parse(set.PUBLIC_URL)?.hostname ?? ''))
    return 'PUBLIC_URL is an address that other machines reach'
  if (trustProxy.safeParse(set.TRUST_PROXY ?? 'false').data !== false)
    return 'TRUST_PROXY says that a proxy lets others in'
  return undefined
}

/** Secrets that must be there, and are missing, where others can reach the service. */
export function findMissingSecrets(set: SetVariables, why: string): string[] {
  const problems: string[] = []
  const usesMeta = (['META_APP_SECRET', 'META_VERIFY_TOKEN', 'META_ACCESS_TOKEN'] as const).some((name) =>
    has(set, name),
  )
  if (!usesMeta && !has(set, 'TWILIO_AUTH_TOKEN'))
    problems.push(
      `META_APP_SECRET is missing (or TWILIO_AUTH_TOKEN, for Twilio): ${why}, so webhooks need a signature`,
    )
  if (usesMeta && !has(set, 'META_APP_SECRET'))
    problems.push(`META_APP_SECRET is missing: ${why}, so Meta's webhooks need a signature`)
  if (usesMeta && !has(set, 'META_VERIFY_TOKEN'))
    problems.push(`META_VERIFY_TOKEN is missing: ${why}, and Meta verifies the address with it`)
  if (has(set, 'TWILIO_AUTH_TOKEN') && !has(set, 'PUBLIC_URL'))
    problems.push(`PUBLIC_URL is missing: ${why}, and Twilio signs the address that it calls`)
  if (!has(set, 'ADMIN_PASSWORD')) problems.push(`ADMIN_PASSWORD is missing: ${why}, so it is not generated`)
  return problems
}

function has(set: SetVariables, name: VariableName): boolean {
  return set[name] !== undefined
}
