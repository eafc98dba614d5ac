/**
 * JSON nested so deeply that others fail on it. JSON.parse reads any depth; JSON.stringify ends with a RangeError at a
 * few thousand levels, and so does PostgreSQL (54001). Nothing that WhatsApp documents reaches ten, so there is one
 * limit, far below both, and whatever lies beyond it is kept as text that no code walks through.
 */
import { isRawJson } from '../../core/json-text.ts'

export const MAX_LEVELS = 512

/** JSON text of any value that JSON.parse can give, and whether it is nested deeper than `MAX_LEVELS`. */
export function serialise(value: unknown): { text: string; isTooDeep: boolean } {
  const text = stringify(value)
  // Every level takes two characters at least.
  return { text, isTooDeep: text.length > 2 * MAX_LEVELS && isTooDeep(value) }
}

export function isTooDeep(value: unknown): boolean {
  return hasMoreLevels(value, MAX_LEVELS)
}

function hasMoreLevels(value: unknown, levels: number): boolean {
  if (!isContainer(value)) return false
  return levels === 0 || Object.values(value).some((member) => hasMoreLevels(member, levels - 1))
}

function stringify(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (err) {
    if (err instanceof RangeError) return stringifyWithoutRecursion(value)
    throw err
  }
}

type OpenContainer = { isArray: boolean; members: [string, unknown][]; next: number }

function stringifyWithoutRecursion(root: unknown): string {
  const parts: string[] = []
  const open: OpenContainer[] = []
  const write = (value: unknown) => {
    if (!isContainer(value)) return parts.push(JSON.stringify(value))
    const isArray = Array.isArray(value)
    parts.push(isArray ? '[' : '{')
    return open.push({ isArray, members: Object.entries(value), next: 0 })
  }
  write(root)
  for (let current = open.at(-1); current !== undefined; current = open.at(-1)) {
    const member = current.members[current.next]
    if (member === undefined) {
      parts.push(current.isArray ? ']' : '}')
      open.pop()
      continue
    }
    if (current.next > 0) parts.push(',')
    if (!current.isArray) parts.push(`${JSON.stringify(member[0])}:`)
    current.next += 1
    write(member[1])
  }
  return parts.join('')
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !isRawJson(value)
}
