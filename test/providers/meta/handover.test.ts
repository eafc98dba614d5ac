/** Which app answers in a conversation, as `messaging_handovers` says it. */
import { describe, expect, test } from 'vitest'
import type { ControlChange } from '../../../src/core/fact.ts'
import {
  META_CUSTOMER_PHONE,
  META_PHONE_NUMBER_ID,
  metaHandover,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { eventsOf, factsOf, RECEIVED_AT } from './meta-facts.ts'

const USER_ID = 'US.10000000000000000001'

function controlOf(change: unknown, entry: Record<string, unknown> = {}): ControlChange | undefined {
  const [fact, ...more] = factsOf(metaWebhook([change], entry))
  if (fact?.kind !== 'other' || more.length > 0) throw new Error('expected one event')
  return fact.control
}

describe('a handover', () => {
  test('passed to this app gives it control of the conversation, at the time that Meta says', () => {
    expect(controlOf(metaHandover())).toEqual({
      contact: { phone: META_CUSTOMER_PHONE },
      business_number: META_PHONE_NUMBER_ID,
      holder: 'self',
      role: 'escalation',
      at: new Date(1760000000000),
    })
  })

  test('is an event of the number that only `recipient` names', () => {
    expect(eventsOf(metaWebhook([metaHandover()]))).toMatchObject([
      { kind: 'other', field: 'messaging_handovers', business_number: META_PHONE_NUMBER_ID },
    ])
  })

  test.each<[string, Record<string, unknown>, 'self' | 'other', string | undefined]>([
    ['control_passed', { previous_owner_role: 'ai_agent', new_owner_role: undefined }, 'self', undefined],
    ['control_passed', { new_owner_role: 'ai_agent' }, 'other', 'ai_agent'],
    ['control_passed', { new_owner_role: undefined, new_owner_app_role: 'META_AI' }, 'other', 'ai_agent'],
    ['control_passed', { new_owner_role: 'Marketing' }, 'self', 'marketing'],
    ['control_taken', { previous_owner_role: 'customer_service' }, 'other', 'escalation'],
    ['control_taken', { previous_owner_role: undefined, new_owner_role: undefined }, 'other', undefined],
    ['control_taken', { previous_owner_role: 'ai_agent' }, 'self', 'escalation'],
    [
      'control_taken',
      { previous_owner_role: undefined, previous_owner_app_role: 'meta_business_agent' },
      'self',
      'escalation',
    ],
    ['control_taken', { new_owner_role: 'ai_agent' }, 'other', 'ai_agent'],
    ['control_passed', { new_owner_role: 'x'.repeat(65) }, 'self', undefined],
  ])('%s with %j: %s as %s', (type, roles, holder, role) => {
    const control = controlOf(metaHandover({ type }, roles))

    expect([control?.holder, control?.role]).toEqual([holder, role])
  })

  test.each([
    [{ sender: { phone_number: 15551230001 } }, { phone: META_CUSTOMER_PHONE }],
    [{ sender: { wa_id: META_CUSTOMER_PHONE } }, { phone: META_CUSTOMER_PHONE }],
    [{ sender: { user_id: USER_ID } }, { user_id: USER_ID }],
    [
      { sender: { phone_number: META_CUSTOMER_PHONE, user_id: USER_ID } },
      { phone: META_CUSTOMER_PHONE, user_id: USER_ID },
    ],
  ])('names the person in one of several ways: %j', (fields, contact) => {
    expect(controlOf(metaHandover(fields))?.contact).toEqual(contact)
  })

  test('without a time of its own has that of its entry', () => {
    expect(controlOf(metaHandover({ timestamp: undefined }), { time: 1760000007 })?.at).toEqual(
      new Date(1760000007000),
    )
  })

  test('of the future has the time of its receipt, so that it does not outlast later ones', () => {
    expect(controlOf(metaHandover({ timestamp: '4000000000' }))?.at).toEqual(new Date(RECEIVED_AT))
  })

  test.each([
    { type: 'control_shared' },
    { type: ['control_passed'] },
    { type: undefined },
    { sender: undefined },
    { sender: [] },
    { sender: { phone_number: {} } },
    { timestamp: 'soon' },
    { timestamp: null },
  ])('that does not say who, when or what is an event and nothing else: %j', (fields) => {
    expect(controlOf(metaHandover(fields))).toBeUndefined()
  })

  test.each([{ control_passed: [] }, { control_passed: 'x' }, { recipient: [] }, { recipient: null }])(
    'is one for all that is odd beside it: %j',
    (fields) => {
      expect(controlOf(metaHandover(fields))?.holder).toBe('self')
    },
  )
})
