/** From the definition of a provider and the values of its variables to the provider. */
import type { ValuesOf, VariableShape } from '../variables/variable.ts'
import type { Provider, ProviderDefinition, ServiceAddress } from './provider.ts'

/** The names of its variables are checked, and `configure` gets their values with their types. */
export function defineProvider<Shape extends VariableShape>(
  definition: ProviderDefinition<Shape>,
): ProviderDefinition<Shape> {
  return definition
}

export function configureProvider<Shape extends VariableShape>(
  definition: ProviderDefinition<Shape>,
  values: ValuesOf<Shape>,
  service: ServiceAddress,
): Provider {
  return { ...definition, ...definition.configure(values, service), values }
}

/** `values`: of all variables, as the environment has them. */
export function configureProviders(
  definitions: readonly ProviderDefinition[],
  values: Readonly<Record<string, unknown>>,
  service: ServiceAddress,
): Provider[] {
  return definitions.map((definition) => {
    const own = Object.keys(definition.variables).map((name) => [name, values[name]])
    return configureProvider(definition, Object.fromEntries(own), service)
  })
}

/**
 * The values of one provider's variables with their types, among those of all.
 * @throws Error where it is not in the list.
 */
export function valuesOf<Shape extends VariableShape>(
  providers: readonly Provider[],
  definition: ProviderDefinition<Shape>,
): ValuesOf<Shape> {
  const provider = providers.find(({ name }) => name === definition.name)
  if (provider === undefined) throw new Error(`${definition.label} is not one of the providers`)
  return provider.values as ValuesOf<Shape>
}
