/** Finds variables that contradict or need each other, each of which may be right by itself. */
import type { ProviderDefinition } from '../providers/provider.ts'
import { trustProxy } from '../variables/value-formats.ts'
import type { SetVariables } from './variables.ts'

/** Pairs of variables: the first has no effect without the second. */
const PAIRS: readonly (readonly [name: string, needed: string])[] = [
  ['DATABASE_DIRECT_URL', 'DATABASE_URL'],
  ['REDIS_SENTINELS', 'REDIS_SENTINEL_NAME'],
  ['REDIS_SENTINEL_NAME', 'REDIS_SENTINELS'],
]

export function findHalfSetGroups(set: SetVariables, providers: readonly ProviderDefinition[]): string[] {
  const problems = [...PAIRS, ...providers.flatMap(({ pairs }) => pairs)]
    .filter(([name, needed]) => has(set, name) && !has(set, needed))
    .map(([name, needed]) => `${name} is set without ${needed}: set ${needed} too, or remove ${name}`)
  if (has(set, 'REDIS_CLUSTER_NODES') && has(set, 'REDIS_SENTINELS'))
    problems.push('REDIS_CLUSTER_NODES and REDIS_SENTINELS are both set: Redis is one or the other')
  if (has(set, 'REDIS_CLUSTER_NODES') && has(set, 'REDIS_WAIT_REPLICAS'))
    problems.push('REDIS_WAIT_REPLICAS does not work with REDIS_CLUSTER_NODES: remove it')
  return problems
}

/**
 * Why the owner must choose the secrets: other machines can reach the service. Undefined when they cannot. A service that
 * listens on loopback can be reached as well when a proxy stands in front of it, which is how it should be run.
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

/** The required secrets that are missing from a service that others can reach. It needs at least one provider. */
export function findMissingSecrets(
  set: SetVariables,
  why: string,
  providers: readonly ProviderDefinition[],
): string[] {
  const used = providers.filter(({ usedWith }) => usedWith.some((name) => has(set, name)))
  const problems = used
    .flatMap(({ needed }) => needed)
    .filter(([name]) => !has(set, name))
    .map(([name, reason]) => `${name} is missing: ${why}, ${reason}`)
  if (used.length === 0) problems.push(describeNoProvider(providers, why))
  if (!has(set, 'ADMIN_PASSWORD')) problems.push(`ADMIN_PASSWORD is missing: ${why}, so it is not generated`)
  return problems
}

function describeNoProvider([first, ...others]: readonly ProviderDefinition[], why: string): string {
  const alternatives = others.map(({ signingSecret, label }) => `or ${signingSecret}, for ${label}`)
  return `${first?.signingSecret} is missing (${alternatives.join('; ')}): ${why}, so webhooks need a signature`
}

function has(set: SetVariables, name: string): boolean {
  return set[name] !== undefined
}

/** Whether only this machine can reach a server that listens on this address. */
function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1|::ffff:127(?:\.\d{1,3}){3})$/.test(bare)
}
