/**
 * The configuration: read from the environment once, checked whole, frozen. Nothing else looks at the environment.
 *
 * Where others can reach the service, its secrets must be chosen by its owner; on a loopback address without a proxy in front
 * missing ones are generated, kept in DATA_DIR, and found again by every command that runs with the same environment.
 */
import { resolve } from 'node:path'
import { ConfigError } from './config-error.ts'
import { type Config, groupValues } from './config-groups.ts'
import { findHalfSetGroups, findMissingSecrets, type SetVariables, whySecretsAreNeeded } from './conflicts.ts'
import { GENERATED_NAMES, type GeneratedSecrets, readOrCreateSecrets } from './generated-secrets.ts'
import { findMisspellings } from './misspellings.ts'
import { findRisks } from './risks.ts'
import { describeVariables, type VariableName, type VariableValues, variables } from './variables.ts'
import { findWeakSecrets } from './weak-secrets.ts'

export { ConfigError } from './config-error.ts'
export type { Config, LogLevel, RedisSettings } from './config-groups.ts'
export { describeConfig } from './describe-config.ts'
export type { HostAndPort } from './value-formats.ts'
export { describeVariables, type VariableDescription } from './variables.ts'

export type LoadOptions = {
  /**
   * Commands that neither receive webhooks nor serve the admin (worker, migrate, dedupe …) set this to false: nothing is
   * demanded or generated, and secrets that are not set stay empty.
   */
  needsSecrets?: boolean
}

/**
 * Reads the configuration. An empty variable counts as unset; spaces around a value do not count.
 * @throws ConfigError with a line for every variable that is wrong.
 */
export function loadConfig(env: NodeJS.ProcessEnv, options: LoadOptions = {}): Config {
  const needsSecrets = options.needsSecrets ?? true
  const set = readSetVariables(env)
  const why = whySecretsAreNeeded(set)
  const weak = needsSecrets ? findWeakSecrets(set) : []
  const parsed = variables.safeParse(set)
  const problems = [
    ...(parsed.error?.issues.map((issue) => describeIssue(String(issue.path[0]), issue.message, set)) ?? []),
    ...findEnvironmentProblem(set),
    ...findHalfSetGroups(set),
    ...(needsSecrets && why !== undefined ? findMissingSecrets(set, why) : []),
    ...(why === undefined ? [] : weak),
  ]
  if (parsed.data === undefined || problems.length > 0) throw new ConfigError(problems)

  const generated = needsSecrets && why === undefined ? completeSecrets(parsed.data) : undefined
  const values = { ...parsed.data, ...generated?.secrets }
  return deepFreeze({
    ...groupValues(values),
    generated: { names: generated?.names ?? [], file: generated?.file },
    warnings: [
      ...findMisspellings(setNames(env), Object.keys(variables.shape)),
      ...(why === undefined ? weak : []),
      ...findRisks(values, { isReachable: why !== undefined, isServer: needsSecrets }),
    ],
  })
}

function readSetVariables(env: NodeJS.ProcessEnv): SetVariables {
  const set: SetVariables = {}
  for (const { name } of describeVariables()) {
    const value = env[name]?.trim()
    if (value !== undefined && value !== '' && isVariableName(name)) set[name] = value
  }
  return set
}

function describeIssue(name: string, mustBe: string, set: SetVariables): string {
  const isSecret = describeVariables().some((variable) => variable.name === name && variable.isSecret)
  const value = isVariableName(name) ? (set[name] ?? '') : ''
  return `${name} must be ${mustBe}${isSecret || mayHoldSecret(value) ? '' : `, not ${JSON.stringify(value)}`}`
}

/** Shorter than any secret that is taken (weak-secrets.ts), but for the verify token. */
const MAX_SHOWN_LENGTH = 11

/** The user or the query of an address, or a token that was meant for another variable. */
function mayHoldSecret(value: string): boolean {
  return value.length > MAX_SHOWN_LENGTH || /[@?#]/.test(value)
}

function isVariableName(name: string): name is VariableName {
  return Object.hasOwn(variables.shape, name)
}

function setNames(env: NodeJS.ProcessEnv): string[] {
  return Object.keys(env).filter((name) => env[name]?.trim())
}

/** `prod` would silently be a service with generated secrets. Other words are other programs' business. */
function findEnvironmentProblem({ NODE_ENV }: SetVariables): string[] {
  const isMisspelt = NODE_ENV !== undefined && NODE_ENV !== 'production' && /^(?:prod|live$)/i.test(NODE_ENV)
  return isMisspelt ? ['NODE_ENV must be production, in these letters, or something else entirely'] : []
}

type Completed = { names: VariableName[]; file: string; secrets: Partial<VariableValues> }

function completeSecrets(values: VariableValues): Completed | undefined {
  const names = GENERATED_NAMES.filter((name) => values[name] === undefined)
  if (names.length === 0) return undefined
  const { file, ...generated } = readOrCreateSecrets(resolve(values.DATA_DIR))
  return { names, file, secrets: pickSecrets(generated, names) }
}

function pickSecrets(
  generated: GeneratedSecrets,
  names: readonly (keyof GeneratedSecrets)[],
): Partial<VariableValues> {
  const secrets: Partial<VariableValues> = {}
  for (const name of names) {
    if (name === 'META_APP_SECRET' || name === 'TWILIO_AUTH_TOKEN') secrets[name] = [generated[name]]
    else secrets[name] = generated[name]
  }
  return secrets
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const item of Object.values(value)) deepFreeze(item)
  return Object.freeze(value)
}
