/**
 * Ranks of a message's status. `chat_messages.status` only moves to a higher (rank, name), so every order of arrival
 * ends in the same state. The name breaks the tie between `failed` and `undelivered`, which mean the same.
 */
export const STATUS_RANKS = {
  queued: 0,
  sending: 1,
  unknown: 2,
  accepted: 3,
  sent: 4,
  failed: 5,
  undelivered: 5,
  delivered: 6,
  read: 7,
  played: 8,
} as const satisfies Record<string, number>

export type KnownStatus = keyof typeof STATUS_RANKS

/** The rank of a status word. Undefined: the word is stored, but does not change the message. */
export function statusRank(status: string): number | undefined {
  return Object.hasOwn(STATUS_RANKS, status) ? STATUS_RANKS[status as KnownStatus] : undefined
}
