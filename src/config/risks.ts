/** Settings that are right by themselves and weaken what protects the service: warnings, one line each, with the next step. */
import type { VariableValues } from './variables.ts'

export type Surroundings = {
  /** Others can reach the service. */
  isReachable: boolean
  /** The process answers HTTP requests. */
  isServer: boolean
}

export function findRisks(values: VariableValues, { isReachable, isServer }: Surroundings): string[] {
  return [...(isServer ? findProxyRisks(values) : []), ...(isReachable ? findOpenRisks(values) : [])]
}

/** The process itself speaks plain HTTP: an https address is a proxy's. */
function findProxyRisks({ TRUST_PROXY, PUBLIC_URL }: VariableValues): string[] {
  if (TRUST_PROXY === true)
    return ['TRUST_PROXY is true: whoever reaches the port can claim any address; give the number of proxies']
  if (TRUST_PROXY === undefined && PUBLIC_URL?.startsWith('https:'))
    return [
      'PUBLIC_URL is https, but TRUST_PROXY is not set: behind a proxy all clients have its address, and anybody can lock the admin out with wrong passwords; set it to the number of proxies, or to false',
    ]
  return []
}

function findOpenRisks(values: VariableValues): string[] {
  const risks: string[] = []
  if (values.DATABASE_URL === undefined)
    risks.push('DATABASE_URL is not set: messages are kept in an embedded PostgreSQL in DATA_DIR')
  if (values.PUBLIC_URL?.startsWith('http:'))
    risks.push('PUBLIC_URL is not https: passwords and messages travel in the clear; end TLS in a proxy')
  for (const name of ['META_GRAPH_URL', 'TWILIO_API_URL'] as const)
    if (values[name].startsWith('http:'))
      risks.push(`${name} is not https: access tokens travel in the clear`)
  return risks
}
