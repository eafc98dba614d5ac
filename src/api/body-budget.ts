/**
 * Limits the memory of webhook bodies that are being received. The signature can be checked only over the whole body,
 * so without a limit any client could fill the memory: with bodies of 4 MB that never end, or with bodies in pieces of
 * one byte, each of which takes hundreds of bytes as a Buffer of its own.
 *
 * So a body is kept in one buffer. It grows with the bytes that have arrived, not with the announced length, and its
 * whole size counts. Small bodies are always accepted: nearly all webhooks are small, so large ones cannot keep them
 * out.
 */

const MAX_HELD_BYTES = 128 * 1024 * 1024
/** A webhook with one message has 1 or 2 KB. With 5,000 connections, bodies of this size take 80 MB. */
const SMALL_BYTES = 16 * 1024
/** After this many pieces their average size must reach MIN_PIECE_BYTES: every piece costs the parser the same time. */
const MAX_TINY_PIECES = 1_024
const MIN_PIECE_BYTES = 256
const NOTHING = Buffer.alloc(0)

export type BodyBudgetOptions = { maxHeldBytes?: number; smallBytes?: number }

export type BodyRefusal = 'too_large' | 'too_many_pieces' | 'no_room'

export type GrowingBody = {
  /** Returns why the piece is refused; the caller then drops the body. */
  add(piece: Buffer): BodyRefusal | undefined
  /** The bytes that have arrived. */
  bytes(): Buffer
  /** Releases its share of the budget. To be called when the bytes are not used any more. */
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

    /** Doubles, so that the bytes are seldom copied; but a small body never grows over `smallBytes` by doubling. */
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
      // Nearly every body arrives in one piece, which needs no copy.
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
