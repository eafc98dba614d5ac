/** Finds valid settings that weaken the protection of the service. Each is a warning of one line, with the next step. */
import { notesOf, type VariableShape } from '../variables/variable.ts'
import type { VariableValues } from './variables.ts'

export type RiskContext = {
  variables: VariableShape
  /** Other machines can reach the service. */
  isReachable: boolean
  /** The process answers HTTP requests. */
  isServer: boolean
}

export function findRisks(
  values: VariableValues,
  { variables, isReachable, isServer }: RiskContext,
): string[] {
  return [
    ...(isServer ? findProxyRisks(values) : []),
    ...(isReachable ? findOpenRisks(values, variables) : []),
  ]
}

/** The process itself speaks plain HTTP, so with an https address there is a proxy in front. */
function findProxyRisks({ TRUST_PROXY, PUBLIC_URL }: VariableValues): string[] {
  if (TRUST_PROXY === true)
    return ['TRUST_PROXY is true: whoever reaches the port can claim any address; give the number of proxies']
  if (TRUST_PROXY === undefined && PUBLIC_URL?.startsWith('https:'))
    return [
      'PUBLIC_URL is https, but TRUST_PROXY is not set: behind a proxy all clients have its address, and anybody can lock the admin out with wrong passwords; set it to the number of proxies, or to false',
    ]
  return []
}

function findOpenRisks(values: VariableValues, variables: VariableShape): string[] {
  const risks: string[] = []
  if (values.DATABASE_URL === undefined)
    risks.push('DATABASE_URL is not set: messages are kept in an embedded PostgreSQL in DATA_DIR')
  if (values.PUBLIC_URL?.startsWith('http:'))
    risks.push('PUBLIC_URL is not https: passwords and messages travel in the clear; end TLS in a proxy')
  for (const [name, variable] of Object.entries(variables))
    if (notesOf(name, variable).receivesCredentials && String(values[name]).startsWith('http:'))
      risks.push(`${name} is not https: access tokens travel in the clear`)
  return risks
}
