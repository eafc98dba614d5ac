/**
 * Bounds the memory that unread webhooks can take. Who sent a body is known only when all of it is there, so anybody who
 * reaches the port could otherwise fill the process with bodies that never end, 4 MB each.
 *
 * Only what has arrived counts, not what was announced. Bodies that are announced as small always pass: they are what
 * providers send nearly all the time, and nobody can crowd them out.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

const MAX_HELD_BYTES = 128 * 1024 * 1024
/** A webhook with one message has one or two kilobytes. */
const SMALL_BYTES = 64 * 1024

export type BodyBudgetOptions = { maxHeldBytes?: number; smallBytes?: number }

export type BodyBudget = {
  /**
   * Whether this body may be read; from then on it counts, until its answer is out. `onFull` is called once when it is the
   * one for which there is no more room; then it is to be dropped. To be called in the turn of the event loop in which
   * reading begins.
   */
  admit(req: IncomingMessage, res: ServerResponse, onFull: () => void): boolean
}

export function createBodyBudget({
  maxHeldBytes = MAX_HELD_BYTES,
  smallBytes = SMALL_BYTES,
}: BodyBudgetOptions = {}): BodyBudget {
  let heldBytes = 0
  return {
    admit(req, res, onFull) {
      if (announcedBytes(req) <= smallBytes) return true
      if (heldBytes >= maxHeldBytes) return false
      let ownBytes = 0
      let isRefused = false
      req.on('data', (chunk: Buffer) => {
        ownBytes += chunk.length
        heldBytes += chunk.length
        // Many may have been admitted while there was room for all that had arrived.
        if (isRefused || heldBytes <= maxHeldBytes || ownBytes <= smallBytes) return
        isRefused = true
        onFull()
      })
      // The answer, and not the last byte: meanwhile the body is parsed and waits for its store.
      res.once('close', () => {
        heldBytes -= ownBytes
        ownBytes = 0
      })
      return true
    },
  }
}

/** A body in chunks may be of any length. */
function announcedBytes({ headers }: IncomingMessage): number {
  return headers['transfer-encoding'] === undefined
    ? Number(headers['content-length'] ?? 0)
    : Number.POSITIVE_INFINITY
}
