/**
 * Environment variables and what is known of each beside its form. The service's own stand in src/config, those of a
 * provider in its folder; the configuration page and all checks are made from both.
 */
import { z } from 'zod'

export type VariableNotes = {
  unit?: string
  /** One or two sentences for the configuration page. */
  meaning: string
  /** Never printed, not even in an error message. */
  isSecret?: true
  /** What happens without a value. */
  without?: string
  /** Credentials are sent to this address: plain http shows them. */
  receivesCredentials?: true
  /** A weak value is refused where others can reach the service. `nextStep` completes "…; copy it from …". */
  strength?: { minLength: number; isList?: true; nextStep: string }
  /** Makes a value for a first try; it is kept in DATA_DIR. */
  generate?: () => string
}

/** By the names of the variables. */
export type VariableShape = Readonly<Record<string, z.ZodType>>

export type ValuesOf<Shape extends VariableShape> = { [Name in keyof Shape]: z.output<Shape[Name]> }

const registry = z.registry<VariableNotes & { default?: string }>()

export function optional<T>(format: z.ZodType<T, string>, notes: VariableNotes) {
  const generated = notes.generate === undefined ? {} : { without: 'generated' }
  return format.optional().register(registry, { ...generated, ...notes })
}

export function withDefault<T>(format: z.ZodType<T, string>, value: string, notes: VariableNotes) {
  return format.prefault(value).register(registry, { ...notes, default: value })
}

/** @throws Error when the variable was made with neither `optional` nor `withDefault`. */
export function notesOf(name: string, variable: z.ZodType): VariableNotes & { default?: string } {
  const notes = registry.get(variable)
  if (notes === undefined) throw new Error(`${name} has no description: make it with optional or withDefault`)
  return notes
}
