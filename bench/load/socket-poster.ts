/**
 * Posts requests that were built beforehand over keep-alive connections to the receiver.
 *
 * Raw sockets and not an HTTP client: the load comes from the same cores as the service under load, so every microsecond
 * spent here is missing there. `onread` hands out one buffer again and again and goes around Node's streams.
 */
import { connect, type Socket } from 'node:net'
import type { Answer } from '../../src/cli/simulate/post.ts'
import { readAnswer } from './http-answer.ts'

export type SocketPoster = {
  /** Never rejects. */
  post(request: Buffer): Promise<Answer>
  /** Requests on their way are answered with an error. */
  close(): void
}

export type SocketPosterOptions = {
  port: number
  /** Opened before the first request. */
  connections: number
  /** Up to this many are opened, one after the other, while a request waits for one. */
  maxConnections: number
  /** A connection that the receiver had ended could not be opened again. */
  onGone(err: Error): void
}

type Waiting = { request: Buffer; resolve: (answer: Answer) => void }

const READ_BUFFER_BYTES = 16 * 1024

/** @throws when the receiver cannot be reached. */
export async function openSocketPoster(options: SocketPosterOptions): Promise<SocketPoster> {
  const { port, connections, maxConnections, onGone } = options
  const sockets = new Set<Socket>()
  const idle: ((waiting: Waiting) => void)[] = []
  const waiting: Waiting[] = []
  let isOpening = false
  let isClosed = false

  function sendWaiting(): void {
    while (idle.length > 0 && waiting.length > 0) {
      // The last one that came free: the others may be closed by the receiver, and opened again before they are used.
      idle.pop()?.(waiting.shift() as Waiting)
    }
    if (waiting.length === 0 || isOpening || sockets.size >= maxConnections) return
    isOpening = true
    open().then(() => {
      isOpening = false
      sendWaiting()
    }, onGone)
  }

  /** Resolves when the connection can send. It is opened again whenever the receiver ends it. */
  function open(): Promise<void> {
    const buffer = Buffer.allocUnsafe(READ_BUFFER_BYTES)
    let text = ''
    let reason = 'closed by the receiver'
    let isOpen = false
    let underWay: Waiting | undefined

    const send = (next: Waiting) => {
      underWay = next
      socket.write(next.request)
    }
    const finish = (answer: Answer) => {
      const answered = underWay
      underWay = undefined
      answered?.resolve(answer)
    }
    const becomeIdle = () => {
      idle.push(send)
      sendWaiting()
    }
    const onRead = (bytes: number): boolean => {
      text += buffer.toString('latin1', 0, bytes)
      const answer = readAnswer(text)
      if (answer === undefined) return true
      text = text.slice(answer.length)
      finish({ status: answer.status })
      // The receiver ends the connection after its last answer, and a request sent into that would be lost.
      if (answer.isLast) socket.destroy()
      else becomeIdle()
      return true
    }
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer, callback: onRead } })
    sockets.add(socket)
    return new Promise((resolve, reject) => {
      socket.once('connect', () => {
        isOpen = true
        becomeIdle()
        resolve()
      })
      socket.on('error', (err) => {
        reason = err.message
        reject(err)
      })
      socket.once('close', () => {
        sockets.delete(socket)
        const place = idle.indexOf(send)
        if (place >= 0) idle.splice(place, 1)
        finish({ error: reason })
        if (isOpen && !isClosed) open().catch(onGone)
      })
    })
  }

  await Promise.all(Array.from({ length: connections }, open))
  return {
    post: (request) =>
      new Promise((resolve) => {
        waiting.push({ request, resolve })
        sendWaiting()
      }),
    close() {
      isClosed = true
      for (const socket of sockets) socket.destroy()
    },
  }
}
