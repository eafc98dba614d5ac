import { sqlStateOf } from '../errors.ts'

/**
 * Why an event is parked. The message of the error can quote the event, also the text of a RAISE, so only what cannot is
 * kept: SQLSTATE, constraint, and the name of the function that refused it.
 */
export function refusal(cause: unknown): string {
  const state = sqlStateOf(cause)
  if (state === undefined) return `cannot be written: ${cause instanceof Error ? cause.name : typeof cause}`
  const constraint = stringField(cause, 'constraint')
  const [, name] = FUNCTION.exec(stringField(cause, 'where') ?? '') ?? []
  return [
    `refused by PostgreSQL: SQLSTATE ${state}`,
    constraint === undefined ? '' : ` (${constraint})`,
    name === undefined ? '' : ` in function ${name}`,
  ].join('')
}

/** The context of an error, from inside outwards; what comes after the name can quote statements and arguments. */
const FUNCTION = /^(?:PL\/pgSQL|SQL) function "?([^\s("]+)/m

function stringField(cause: unknown, field: 'constraint' | 'where'): string | undefined {
  const value: unknown =
    typeof cause === 'object' && cause !== null && field in cause ? Reflect.get(cause, field) : undefined
  return typeof value === 'string' ? value : undefined
}
