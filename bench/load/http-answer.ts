/** Reads HTTP/1.1 answers from a keep-alive connection, as little of them as a load generator needs. */

export type HttpAnswer = {
  status: number
  /** Of the text, how much the answer took. */
  length: number
  /** The server closes the connection after it. */
  isLast: boolean
}

const HEAD_END = '\r\n\r\n'
const LAST_CHUNK = '0\r\n\r\n'

/** The answer at the start of `text` (one character for each byte), or undefined while it is incomplete. */
export function readAnswer(text: string): HttpAnswer | undefined {
  const headEnd = text.indexOf(HEAD_END)
  if (headEnd === -1) return undefined
  const head = text.slice(0, headEnd)
  const bodyStart = headEnd + HEAD_END.length
  const bodyEnd = endOfBody(text, head, bodyStart)
  if (bodyEnd === undefined || bodyEnd > text.length) return undefined
  return { status: Number(head.slice(9, 12)), length: bodyEnd, isLast: /\r\nconnection: close/i.test(head) }
}

function endOfBody(text: string, head: string, bodyStart: number): number | undefined {
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length !== undefined) return bodyStart + Number(length)
  if (!/\r\ntransfer-encoding: *chunked/i.test(head)) return bodyStart
  const lastChunk = text.indexOf(LAST_CHUNK, bodyStart)
  return lastChunk === -1 ? undefined : lastChunk + LAST_CHUNK.length
}
