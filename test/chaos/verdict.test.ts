/** The auditor of `npm run chaos` finds what it is there to find. */
import { describe, expect, test } from 'vitest'
import type { StoredRows } from '../../chaos/audit/stored-rows.ts'
import { judge } from '../../chaos/audit/verdict.ts'
import { createLedger } from '../../chaos/load/ledger.ts'
import type { StreamEvent } from '../../chaos/load/stream.ts'

const MESSAGE: StreamEvent = { kind: 'message', wa_message_id: 'wamid.A', person: 1 }
const ECHO: StreamEvent = { kind: 'echo', wa_message_id: 'wamid.B', person: 1 }
const STATUS: StreamEvent = { kind: 'status', wa_message_id: 'wamid.B', status: 'read', person: 1 }

const GOOD: StoredRows = {
  messages: [
    { wa_message_id: 'wamid.A', direction: 'inbound', status: null, conversation_id: '1' },
    { wa_message_id: 'wamid.B', direction: 'outbound', status: 'read', conversation_id: '1' },
  ],
  statuses: [{ wa_message_id: 'wamid.B', status: 'read' }],
  events: [],
  announcedTwice: [],
  quarantined: 0,
  counted: 3,
}

function judged(rows: Partial<StoredRows> = {}, sent = [MESSAGE, ECHO, STATUS], acknowledged = sent) {
  const ledger = createLedger()
  ledger.recordSent(sent)
  ledger.recordAcknowledged(acknowledged)
  return judge(ledger, { ...GOOD, ...rows })
}

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
    ['a message announced twice', { announcedTwice: ['7'] }, /announced/],
    [
      'a row of something never sent',
      { statuses: [...GOOD.statuses, { wa_message_id: 'x', status: 'sent' }] },
      /never sent/,
    ],
    ['a person in two conversations', { messages: inTwoConversations() }, /more than one conversation/],
    ['a total that is not the number of rows', { counted: 4 }, /counted 4/],
  ])('names %s', (_, rows, fault) => {
    expect(judged(rows).faults.join('\n')).toMatch(fault)
  })
})

function withStatus(status: string): StoredRows['messages'] {
  return GOOD.messages.map((message) => (message.direction === 'outbound' ? { ...message, status } : message))
}

function inTwoConversations(): StoredRows['messages'] {
  return GOOD.messages.map((message, index) => ({ ...message, conversation_id: String(index) }))
}
