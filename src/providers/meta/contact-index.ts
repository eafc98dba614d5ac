/**
 * Which entry of `contacts` belongs to which item.
 *
 * Told by phone number and user ids, never by position: the two lists have different lengths as soon as one person sent
 * two messages. Only where an entry stands alone, and it or the item names nobody, there is nothing to compare and
 * nobody else it could be. That is a guess: what such an entry says beyond a name stays with the rest of the webhook.
 */
import { contactOf, describesSomebody, type Person, personKeys } from './identity.ts'
import { isObject, type JsonObject } from './json-reader.ts'
import { isTooDeep } from './nesting.ts'

const ID_FIELDS = ['wa_id', 'user_id', 'parent_user_id']
/** The hash changes with the person's device and names nobody. */
const NAME_FIELDS = ['name', 'username', 'identity_key_hash']

export type ContactIndex = {
  /** The entry that describes one of these persons, the first of them first. */
  find(persons: readonly Person[]): JsonObject | undefined
  /** The entries that belonged to nothing asked for so far. */
  unmatched(): unknown[]
}

export function indexContacts(entries: readonly unknown[]): ContactIndex {
  const byKey = new Map<string, JsonObject[]>()
  const usable = entries.filter(isUsable)
  for (const entry of usable) {
    for (const key of personKeys(contactOf(entry))) {
      const same = byKey.get(key)
      if (same === undefined) byKey.set(key, [entry])
      else same.push(entry)
    }
  }
  const only = usable.length === 1 ? usable[0] : undefined
  const isNameless = only !== undefined && personKeys(contactOf(only)).length === 0
  const matched = new Set<unknown>()
  const seenKeys = new Set<string>()
  const take = (key: string): JsonObject | undefined => {
    const same = byKey.get(key)
    // The same person twice: Meta may repeat the entry for every message of a batch.
    if (same !== undefined && !seenKeys.has(key)) for (const entry of same) matched.add(entry)
    seenKeys.add(key)
    return same?.[0]
  }

  return {
    find(persons) {
      const keys = persons.flatMap(personKeys)
      const [found] = keys.map(take).filter((entry) => entry !== undefined)
      if (found !== undefined || only === undefined || (keys.length > 0 && !isNameless)) return found
      if (isAllRead(only, isNameless)) matched.add(only)
      return only
    },
    unmatched: () => entries.filter((entry) => !matched.has(entry)),
  }
}

/** An entry that tells nothing of anybody belongs to nobody: with a message, all that it does say would be lost. */
function isUsable(entry: unknown): entry is JsonObject {
  return isObject(entry) && describesSomebody(entry) && !isTooDeep(entry)
}

/** Whether everything that an entry says is read. An id by which it cannot be found is not. */
function isAllRead({ profile, ...fields }: JsonObject, isNameless: boolean): boolean {
  const names = isNameless ? NAME_FIELDS : [...ID_FIELDS, ...NAME_FIELDS]
  const isProfileRead = profile === undefined || (isObject(profile) && areTexts(profile, NAME_FIELDS))
  return isProfileRead && areTexts(fields, names)
}

function areTexts(fields: JsonObject, names: readonly string[]): boolean {
  return Object.entries(fields).every(([name, value]) => {
    const isNothing = value === null || value === ''
    return isNothing || (typeof value === 'string' && names.includes(name))
  })
}
