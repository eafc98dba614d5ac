/** The auditor of `npm run chaos` finds what it is there to find. */
import { describe, expect, test } from 'vitest'
import type { StoredRows } from '../../chaos/audit/stored-rows.ts'
import { judge } from '../../chaos/audit/verdict.ts'
import { createLedger } from '../../chaos/load/ledger.ts'
import { type StreamEvent, textOf } from '../../chaos/load/stream.ts'
import { personAt } from '../../src/cli/simulate/people.ts'

const STORY = { person: 1, timestamp: 1_780_272_000 }
const MESSAGE: StreamEvent = { kind: 'message', wa_message_id: 'wamid.A', ...STORY }
const ECHO: StreamEvent = { kind: 'echo', wa_message_id: 'wamid.B', ...STORY }
const STATUS: StreamEvent = { kind: 'status', wa_message_id: 'wamid.B', status: 'read', ...STORY }
const ROW = {
  ...{ message_type: 'text', sent_at: STORY.timestamp, conversation_id: '1', name: personAt(1).name },
}

const GOOD: StoredRows = {
  messages: [
    { wa_message_id: 'wamid.A', direction: 'inbound', status: null, content: textOf(MESSAGE), ...ROW },
    { wa_message_id: 'wamid.B', direction: 'outbound', status: 'read', content: textOf(ECHO), ...ROW },
  ],
  statuses: [{ wa_message_id: 'wamid.B', status: 'read' }],
  events: [],
  misannounced: [],
  quarantined: 0,
  counted: 3,
}

function judged(rows: Partial<StoredRows> = {}, sent = [MESSAGE, ECHO, STATUS], acknowledged = sent) {
  const ledger = createLedger()
  ledger.recordSent(sent)
  ledger.recordAcknowledged(acknowledged, 0)
  return judge(ledger, { ...GOOD, ...rows })
}

const OTHER_PERSON = [{ ...MESSAGE, person: 2 }, ECHO, STATUS]

describe('the verdict', () => {
  test('is clean where everything acknowledged is stored once and in its final state', () => {
    expect(judged()).toMatchObject({ acknowledged: 3, stored: 3, doubled: 0, lost: 0, faults: [] })
  })

  test('counts as lost what was acknowledged and has no row', () => {
    const verdict = judged({ messages: GOOD.messages.slice(1), counted: 2 })

    expect(verdict).toMatchObject({ lost: 1, examples: { lost: ['message wamid.A'] } })
  })

  test('does not count as lost what was never acknowledged', () => {
    const verdict = judged({ messages: GOOD.messages.slice(1), counted: 2 }, undefined, [ECHO, STATUS])

    expect(verdict).toMatchObject({ lost: 0, acknowledged: 2 })
  })

  test('excuses what was acknowledged, and asked for, in a window in which it may be lost', () => {
    let now = 100
    const ledger = createLedger(() => now)
    const acknowledge = (event: StreamEvent, askedAt: number, at: number) => {
      now = at
      ledger.recordSent([event])
      ledger.recordAcknowledged([event], askedAt)
    }
    acknowledge(MESSAGE, 80, 90)
    acknowledge(ECHO, 140, 150)
    acknowledge(STATUS, 201, 205)

    ledger.mayLose({ acknowledgedFrom: 100, askedBefore: 200 })
    const nothing = { ...GOOD, messages: [], statuses: [], counted: 0 }

    expect(judge(ledger, nothing)).toMatchObject({
      lost: 3,
      lostAgainstPromise: 2,
      examples: { lost: ['message wamid.A', 'status read wamid.B'] },
    })
  })

  test.each([
    ['a second row', { messages: [...GOOD.messages, ...GOOD.messages.slice(0, 1)], counted: 4 }],
    ['a second status', { statuses: [...GOOD.statuses, ...GOOD.statuses], counted: 4 }],
    ['a parked copy', { events: [{ wa_message_id: 'wamid.A', kind: 'message', reason: 'other number' }] }],
    ['a row in quarantine', { quarantined: 1 }],
  ])('counts %s as doubled', (_, rows) => {
    expect(judged(rows).doubled).toBe(1)
  })

  test.each([
    ['a status behind what was heard', { messages: withStatus('sent') }, /final status/],
    ['a status that nobody sent', { messages: withStatus('played') }, /final status/],
    ['a message announced twice or never', { misannounced: ['wamid.A'] }, /announced/],
    [
      'a row of something never sent',
      { statuses: [...GOOD.statuses, { wa_message_id: 'x', status: 'sent' }] },
      /never sent/,
    ],
    ['a person in two conversations', { messages: inTwoConversations() }, /more than one conversation/],
    ['two people in one conversation', { messages: GOOD.messages }, /more than one person/, OTHER_PERSON],
    ['another text', altered({ content: 'Hello' }), /another content/],
    ['no text', altered({ content: null }), /another content/],
    ['another type', altered({ message_type: 'image' }), /another content/],
    ['another direction', altered({ direction: 'outbound' }), /another content/],
    ['another time', altered({ sent_at: 1 }), /another content/],
    ['another name', altered({ name: 'Somebody' }), /another content/],
    ['a total that is not the number of rows', { counted: 4 }, /counted 4/],
  ])('names %s', (_, rows, fault, sent?: StreamEvent[]) => {
    expect(judged(rows, sent).faults.join('\n')).toMatch(fault)
  })
})

function withStatus(status: string): StoredRows['messages'] {
  return GOOD.messages.map((message) => (message.direction === 'outbound' ? { ...message, status } : message))
}

function inTwoConversations(): StoredRows['messages'] {
  return GOOD.messages.map((message, index) => ({ ...message, conversation_id: String(index) }))
}

/** The first message. */
function altered(fields: Partial<StoredRows['messages'][number]>): Partial<StoredRows> {
  return {
    messages: GOOD.messages.map((message, index) => (index === 0 ? { ...message, ...fields } : message)),
  }
}
