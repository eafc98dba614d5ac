/** A client of server-sent events that records every frame, and can stop reading. */
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { cleanUp } from './clean-up.ts'
import { eventually } from './eventually.ts'

export type EventFrame = { id?: string; data?: string; retry?: string; comment?: string }

export type EventStream = {
  status: number
  headers: IncomingHttpHeaders
  /** The frames so far. `text` has the body of an answer that is no stream. */
  readonly frames: EventFrame[]
  readonly text: string
  readonly hasEnded: boolean
  /** The data of the events so far, as JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: looked into by the tests
  changes(): any[]
  /** The id that an EventSource would send when it connects again. */
  lastEventId(): string | undefined
  /** Waits until this number of events has arrived. */
  // biome-ignore lint/suspicious/noExplicitAny: looked into by the tests
  waitForChanges(count: number): Promise<any[]>
  /** Stops reading from the connection. */
  pause(): void
  resume(): void
  close(): void
}

/** Resolves when the headers are there. Closed with the test. */
export async function openEventStream(url: string, headers: Record<string, string>): Promise<EventStream> {
  const req = request(url, { headers, agent: false })
  const res = await new Promise<IncomingMessage>((resolve, reject) => {
    req.on('response', resolve).on('error', reject).end()
  })
  cleanUp(() => req.destroy())
  const state = { text: '', rest: '', hasEnded: false }
  const frames: EventFrame[] = []
  res.setEncoding('utf8')
  res.on('data', (text: string) => {
    state.text += text
    const parts = (state.rest + text).split('\n\n')
    state.rest = parts.pop() ?? ''
    frames.push(...parts.map(parseFrame))
  })
  res.on('error', () => {})
  res.on('close', () => {
    state.hasEnded = true
  })
  const changes = () => frames.flatMap(({ data }) => (data === undefined ? [] : [JSON.parse(data)]))
  const count = () => frames.filter(({ data }) => data !== undefined).length
  return {
    status: res.statusCode ?? 0,
    headers: res.headers,
    frames,
    get text() {
      return state.text
    },
    get hasEnded() {
      return state.hasEnded
    },
    changes,
    lastEventId: () => frames.findLast(({ id }) => id !== undefined)?.id,
    waitForChanges: async (wanted) => {
      await eventually(() => {
        if (count() < wanted) throw new Error(`${count()} of ${wanted} events have come`)
      })
      return changes()
    },
    pause: () => res.pause(),
    resume: () => res.resume(),
    close: () => req.destroy(),
  }
}

function parseFrame(text: string): EventFrame {
  const frame: EventFrame = {}
  for (const line of text.split('\n')) {
    const [, field = '', value = ''] = /^([^:]*): ?(.*)$/.exec(line) ?? []
    if (field === '') frame.comment = value
    else if (field === 'id' || field === 'data' || field === 'retry') frame[field] = value
    else throw new Error(`a line that is no field of an event: ${line}`)
  }
  return frame
}
