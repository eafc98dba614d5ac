/** A connection that replaces itself when the receiver ends it, and knows the request that it waits for. */
import { type Connection, openConnection } from './connection.ts'

export type Line = {
  send(position: number, countsFrom: number, request: Buffer): void
  /** Ends it; what it waits for is lost. */
  close(): void
}

export type LineEvents = {
  /** The line can send again. */
  onIdle(line: Line): void
  /** The connection is gone; it opens again by itself, and is idle then. */
  onClosed(line: Line): void
  onAnswer(position: number, status: number, countsFrom: number): void
  onLost(position: number, reason: string): void
  /** It could not be opened again, and is no more. */
  onGone(err: Error): void
}

/** Resolves when the line is idle for the first time. */
export async function openLine(port: number, events: LineEvents): Promise<void> {
  let connection: Connection
  let waiting: { position: number; countsFrom: number } | undefined

  const line: Line = {
    send: (position, countsFrom, request) => {
      waiting = { position, countsFrom }
      connection.send(request)
    },
    close: () => {
      connection.close()
      lose('given up')
    },
  }

  function lose(reason: string): void {
    if (waiting === undefined) return
    const { position } = waiting
    waiting = undefined
    events.onLost(position, reason)
  }

  async function open(): Promise<void> {
    connection = await openConnection(port, {
      onAnswer: (status, isReusable) => {
        const answered = waiting
        waiting = undefined
        if (answered !== undefined) events.onAnswer(answered.position, status, answered.countsFrom)
        if (isReusable) events.onIdle(line)
        else reopen()
      },
      onClose: (reason) => {
        events.onClosed(line)
        lose(reason)
        reopen()
      },
    })
    events.onIdle(line)
  }

  function reopen(): void {
    open().catch(events.onGone)
  }

  await open()
}
