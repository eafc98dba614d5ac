/**
 * Loads the configuration: reads the environment once, checks all of it, and freezes the result. No other module reads the
 * environment.
 *
 * The owner must choose the secrets of a service that other machines can reach. For a service on a loopback address without a
 * proxy, missing secrets are generated and kept in DATA_DIR, where every command with the same environment finds them.
 */
import { resolve } from 'node:path'
import { configureProviders } from '../providers/definition.ts'
import { PROVIDERS } from '../providers/index.ts'
import type { ProviderDefinition } from '../providers/provider.ts'
import { notesOf, type VariableShape } from '../variables/variable.ts'
import { ConfigError } from './config-error.ts'
import { type Config, groupValues } from './config-groups.ts'
import { findHalfSetGroups, findMissingSecrets, whySecretsAreNeeded } from './conflicts.ts'
import { readOrCreateSecrets, type SecretMakers } from './generated-secrets.ts'
import { findMisspellings } from './misspellings.ts'
import { findRisks } from './risks.ts'
import { parseVariables, type SetVariables, type VariableValues, variablesWith } from './variables.ts'
import { findWeakSecrets } from './weak-secrets.ts'

export type LoadOptions = {
  /**
   * Commands that neither receive webhooks nor serve the admin (worker, migrate, dedupe …) set this to false: nothing is
   * demanded or generated, and secrets that are not set stay empty.
   */
  needsSecrets?: boolean
  /** Those of the registry, unless a test has one of its own. */
  providers?: readonly ProviderDefinition[]
}

/**
 * Reads the configuration. An empty variable counts as unset; spaces around a value do not count.
 * @throws ConfigError with a line for every variable that is wrong.
 */
export function loadConfig(env: NodeJS.ProcessEnv, options: LoadOptions = {}): Config {
  const { needsSecrets = true, providers = PROVIDERS } = options
  const variables = variablesWith(providers)
  const set = readSetVariables(env, variables)
  const why = whySecretsAreNeeded(set)
  const weak = needsSecrets ? findWeakSecrets(set, variables) : []
  const parsed = parseVariables(variables, set)
  const problems = [
    ...(parsed.error?.issues.map(({ path, message }) =>
      describeIssue(String(path[0]), message, set, variables),
    ) ?? []),
    ...findEnvironmentProblem(set),
    ...findHalfSetGroups(set, providers),
    ...(needsSecrets && why !== undefined ? findMissingSecrets(set, why, providers) : []),
    ...(why === undefined ? [] : weak),
  ]
  if (parsed.data === undefined || problems.length > 0) throw new ConfigError(problems)

  const completed = needsSecrets && why === undefined ? completeSecrets(parsed.data, variables) : undefined
  const values = deepFreeze({ ...parsed.data, ...completed?.secrets })
  const groups = groupValues(values)
  const config = deepFreeze({
    ...groups,
    generated: { names: completed?.names ?? [], file: completed?.file },
    warnings: [
      ...findMisspellings(setNames(env), Object.keys(variables)),
      ...(why === undefined ? weak : []),
      ...findRisks(values, { variables, isReachable: why !== undefined, isServer: needsSecrets }),
    ],
  })
  const { publicUrl, trustProxy } = groups.http
  // Not frozen: a definition is shared by all configurations.
  const configured = configureProviders(providers, values, { publicUrl, trustProxy: Boolean(trustProxy) })
  return Object.freeze({ ...config, providers: configured })
}

function readSetVariables(env: NodeJS.ProcessEnv, variables: VariableShape): SetVariables {
  const set: Record<string, string> = {}
  for (const name of Object.keys(variables)) {
    const value = env[name]?.trim()
    if (value !== undefined && value !== '') set[name] = value
  }
  return set
}

function describeIssue(name: string, mustBe: string, set: SetVariables, variables: VariableShape): string {
  const variable = variables[name]
  const isSecret = variable !== undefined && notesOf(name, variable).isSecret === true
  const value = set[name] ?? ''
  return `${name} must be ${mustBe}${isSecret || mayHoldSecret(value) ? '' : `, not ${JSON.stringify(value)}`}`
}

/** Shorter than the shortest accepted secret (weak-secrets.ts), except the verify token. */
const MAX_SHOWN_LENGTH = 11

/** An address can hold a secret in its user or query, and a long text can be a token meant for another variable. */
function mayHoldSecret(value: string): boolean {
  return value.length > MAX_SHOWN_LENGTH || /[@?#]/.test(value)
}

function setNames(env: NodeJS.ProcessEnv): string[] {
  return Object.keys(env).filter((name) => env[name]?.trim())
}

/** With `prod` the service would silently run with generated secrets. Other words belong to other programs. */
function findEnvironmentProblem({ NODE_ENV }: SetVariables): string[] {
  const isMisspelt = NODE_ENV !== undefined && NODE_ENV !== 'production' && /^(?:prod|live$)/i.test(NODE_ENV)
  return isMisspelt ? ['NODE_ENV must be production, in these letters, or something else entirely'] : []
}

type Completed = { names: string[]; file: string; secrets: Record<string, unknown> }

/** The secrets that are not set and can be generated, each in the form of its variable. */
function completeSecrets(values: VariableValues, variables: VariableShape): Completed | undefined {
  const makers = secretMakers(variables)
  const names = Object.keys(makers).filter((name) => values[name] === undefined)
  if (names.length === 0) return undefined
  const { file, secrets } = readOrCreateSecrets(resolve(values.DATA_DIR), makers)
  const parsed = names.map((name) => [name, variables[name]?.parse(secrets[name])])
  return { names, file, secrets: Object.fromEntries(parsed) }
}

function secretMakers(variables: VariableShape): SecretMakers {
  const makers = Object.entries(variables).map(([name, variable]) => [name, notesOf(name, variable).generate])
  return Object.fromEntries(makers.filter(([, make]) => make !== undefined))
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const item of Object.values(value)) deepFreeze(item)
  return Object.freeze(value)
}
