/**
 * One keep-alive connection to the receiver: bytes that were built beforehand go out, statuses come back.
 *
 * A raw socket and not an HTTP client: the load comes from the same cores as the service under load, so every
 * microsecond spent here is missing there. `onread` hands out one buffer again and again and goes around Node's streams.
 */
import { connect, type Socket } from 'node:net'
import { readAnswer } from './http-answer.ts'

const READ_BUFFER_BYTES = 16 * 1024

export type Connection = {
  /** One request at a time: only after the answer to the one before. */
  send(request: Buffer): void
  close(): void
}

export type ConnectionEvents = {
  /** `isReusable`: another request may be sent, right here as well. */
  onAnswer(status: number, isReusable: boolean): void
  /** The connection is gone. Whoever was waiting for an answer gets none. */
  onClose(reason: string): void
}

/** Resolves when the connection stands. */
export function openConnection(port: number, events: ConnectionEvents): Promise<Connection> {
  let text = ''
  let reason = 'closed by the receiver'
  let isOpen = false
  const buffer = Buffer.allocUnsafe(READ_BUFFER_BYTES)

  const onRead = (bytes: number): boolean => {
    text += buffer.toString('latin1', 0, bytes)
    const answer = readAnswer(text)
    if (answer === undefined) return true
    text = text.slice(answer.length)
    // The receiver ends it after this answer, and nothing may be sent into that.
    if (answer.isLast) close()
    events.onAnswer(answer.status, !answer.isLast)
    return true
  }

  const socket: Socket = connect({
    port,
    host: '127.0.0.1',
    noDelay: true,
    onread: { buffer, callback: onRead },
  })
  const close = () => {
    isOpen = false
    socket.destroy()
  }
  return new Promise((resolve, reject) => {
    socket.once('connect', () => {
      isOpen = true
      resolve({ send: (request) => socket.write(request), close })
    })
    socket.on('error', (err) => {
      reason = err.message
      reject(err)
    })
    socket.once('close', () => {
      if (isOpen) events.onClose(reason)
    })
  })
}
