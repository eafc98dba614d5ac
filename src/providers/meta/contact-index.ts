/**
 * Which entry of `contacts` belongs to which item.
 *
 * Matched by phone number and user ids, never by position: the two lists have different lengths as soon as one contact sent
 * two messages. If there is only one entry, and it or the item has no identifier, the entry is taken for the item's. That is a
 * guess, so whatever such an entry says beyond a name stays with the rest of the webhook.
 */
import { contactKeys, contactOf, describesContact, type UnreadContact } from './identity.ts'
import { isObject, type JsonObject } from './json-reader.ts'
import { isTooDeep } from './nesting.ts'

const ID_FIELDS = ['wa_id', 'user_id', 'parent_user_id']
/** The hash changes with the contact's device and identifies no contact. */
const NAME_FIELDS = ['name', 'username', 'identity_key_hash']

export type ContactIndex = {
  /** The entry that describes one of these contacts, the first of them first. */
  find(contacts: readonly UnreadContact[]): JsonObject | undefined
  /** The entries that `find` has not returned so far. */
  unmatched(): unknown[]
}

export function indexContacts(entries: readonly unknown[]): ContactIndex {
  const byKey = new Map<string, JsonObject[]>()
  const usable = entries.filter(isUsable)
  for (const entry of usable) {
    for (const key of contactKeys(contactOf(entry))) {
      const same = byKey.get(key)
      if (same === undefined) byKey.set(key, [entry])
      else same.push(entry)
    }
  }
  const only = usable.length === 1 ? usable[0] : undefined
  const isNameless = only !== undefined && contactKeys(contactOf(only)).length === 0
  const matched = new Set<unknown>()
  const seenKeys = new Set<string>()
  const take = (key: string): JsonObject | undefined => {
    const same = byKey.get(key)
    // The same contact twice: Meta may repeat the entry for every message of a batch.
    if (same !== undefined && !seenKeys.has(key)) for (const entry of same) matched.add(entry)
    seenKeys.add(key)
    return same?.[0]
  }

  return {
    find(contacts) {
      const keys = contacts.flatMap(contactKeys)
      const [found] = keys.map(take).filter((entry) => entry !== undefined)
      if (found !== undefined || only === undefined || (keys.length > 0 && !isNameless)) return found
      if (isAllRead(only, isNameless)) matched.add(only)
      return only
    },
    unmatched: () => entries.filter((entry) => !matched.has(entry)),
  }
}

/** An entry without identifier and name belongs to no item: beside a message, its other fields would be lost. */
function isUsable(entry: unknown): entry is JsonObject {
  return isObject(entry) && describesContact(entry) && !isTooDeep(entry)
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
