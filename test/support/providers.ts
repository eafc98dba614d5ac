/** Providers in this process, as environment variables make them. */
import { loadConfig } from '../../src/config/load-config.ts'
import type { Provider } from '../../src/providers/provider.ts'

export function providersWith(env: NodeJS.ProcessEnv): readonly Provider[] {
  return loadConfig(env, { needsSecrets: false }).providers
}

export function providerWith(name: string, env: NodeJS.ProcessEnv): Provider {
  const provider = providersWith(env).find((candidate) => candidate.name === name)
  if (provider === undefined) throw new Error(`there is no provider ${name}`)
  return provider
}
