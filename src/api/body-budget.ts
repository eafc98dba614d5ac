/**
 * Bounds the memory that unread webhooks can take. Who sent a body is known only when all of it is there, so anybody who
 * reaches the port could otherwise fill the process with bodies that never end, 4 MB each, or that come in pieces of one
 * byte: kept as it comes, each of those takes hundreds of bytes.
 *
 * So a body is one buffer. It grows with what has arrived, not with what was announced, and all that it takes counts. Small
 * bodies always pass: they are what providers send nearly all the time, and nobody can crowd them out.
 */

const MAX_HELD_BYTES = 128 * 1024 * 1024
/** A webhook with one message has one or two kilobytes. One of this size on each connection makes 80 MB. */
const SMALL_BYTES = 16 * 1024
/** Beyond so many pieces they must have this size on average: each takes a turn of the parser, whatever is in it. */
const MAX_TINY_PIECES = 1_024
const MIN_PIECE_BYTES = 256
const NOTHING = Buffer.alloc(0)

export type BodyBudgetOptions = { maxHeldBytes?: number; smallBytes?: number }

export type BodyRefusal = 'too_large' | 'too_many_pieces' | 'no_room'

export type GrowingBody = {
  /** Why there is no place for this piece; then the body is to be dropped. */
  add(piece: Buffer): BodyRefusal | undefined
  /** All that has arrived. */
  bytes(): Buffer
  /** Gives back what it took; for when nobody uses the bytes any more. */
  drop(): void
}

export type BodyBudget = { startBody(maxBytes: number): GrowingBody }

export function createBodyBudget({
  maxHeldBytes = MAX_HELD_BYTES,
  smallBytes = SMALL_BYTES,
}: BodyBudgetOptions = {}): BodyBudget {
  let heldBytes = 0

  function startBody(maxBytes: number): GrowingBody {
    let buffer: Buffer = NOTHING
    let length = 0
    let pieces = 0

    const replaceBuffer = (other: Buffer) => {
      heldBytes += other.length - buffer.length
      buffer = other
    }

    /** Doubles, so that few copies are made; but a body that is small so far stays a small one. */
    const sizeFor = (bytes: number) => {
      if (length === 0 || bytes <= buffer.length) return Math.max(bytes, buffer.length)
      const limit = bytes <= smallBytes ? Math.min(smallBytes, maxBytes) : maxBytes
      return Math.min(Math.max(bytes, 2 * buffer.length), limit)
    }

    const hasRoom = (size: number) => {
      const more = size - buffer.length
      return more === 0 || size <= smallBytes || heldBytes + more <= maxHeldBytes
    }

    const append = (piece: Buffer, size: number) => {
      // Nearly every body is one piece, and is not copied.
      if (length === 0) return replaceBuffer(piece)
      if (size > buffer.length) {
        const larger = Buffer.allocUnsafe(size)
        buffer.copy(larger, 0, 0, length)
        replaceBuffer(larger)
      }
      piece.copy(buffer, length)
    }

    return {
      add(piece) {
        const bytes = length + piece.length
        pieces++
        if (bytes > maxBytes) return 'too_large'
        if (pieces > MAX_TINY_PIECES && bytes < pieces * MIN_PIECE_BYTES) return 'too_many_pieces'
        const size = sizeFor(bytes)
        if (!hasRoom(size)) return 'no_room'
        append(piece, size)
        length = bytes
        return undefined
      },
      bytes: () => (length === buffer.length ? buffer : buffer.subarray(0, length)),
      drop() {
        replaceBuffer(NOTHING)
        length = 0
      },
    }
  }

  return { startBody }
}
