/** Name, username and phone of a contact, as they were seen last. */
import type { ContactRef } from '../../core/fact.ts'
import { phoneKey } from '../../core/phone.ts'
import { identifiersOf, profileText } from './identifiers.ts'

const PROFILE_FIELDS = ['name', 'username', 'phone'] as const
export type ProfileField = (typeof PROFILE_FIELDS)[number]

/** Times are milliseconds since 1970. */
export type Profile = {
  name: string | null
  username: string | null
  phone: string | null
  /** When name, username or phone were last seen: a later sighting replaces them, an earlier one only fills gaps. */
  profile_at: number | undefined
}

/** A profile with the fields in it that differ from the stored row. */
export type TrackedProfile = Profile & { dirtyFields: Set<ProfileField> }

/** Applies name, username and phone of a ref that was seen at `seenAt`. */
export function recordProfile(profile: TrackedProfile, ref: ContactRef, seenAt: number): void {
  mergeProfile(profile, {
    name: profileText(ref.name) ?? null,
    username: profileText(ref.username) ?? null,
    phone: profileText(ref.phone) ?? null,
    profile_at: seenAt,
  })
}

export function mergeProfile(profile: TrackedProfile, seen: Profile): void {
  const seenAt = seen.profile_at ?? -Infinity
  const isNewer = seenAt >= (profile.profile_at ?? -Infinity)
  for (const field of PROFILE_FIELDS) {
    const value = seen[field]
    if (value === null || isSameText(field, value, profile[field])) continue
    if (profile[field] !== null && !isNewer) continue
    profile[field] = value
    profile.dirtyFields.add(field)
  }
  if (isNewer && PROFILE_FIELDS.some((field) => seen[field] !== null)) profile.profile_at = seen.profile_at
}

/** Whether name, username and phone of the ref are the contact's already. */
export function hasProfileOf(profile: Profile, ref: ContactRef): boolean {
  if (ref.group_id === undefined && identifiersOf(ref)[0]?.kind === 'none') return true
  return PROFILE_FIELDS.every((field) => {
    const value = profileText(ref[field])
    return value === undefined || isSameText(field, value, profile[field])
  })
}

/** Two spellings of one phone number count as equal: otherwise every message would rewrite the row. */
function isSameText(field: ProfileField, value: string, current: string | null): boolean {
  if (field !== 'phone' || current === null) return value === current
  return phoneKey(value) === phoneKey(current)
}
