import { describe, expect, test } from 'vitest'
import {
  META_CUSTOMER_PHONE,
  metaChange,
  metaContact,
  metaMessage,
  metaMessagesWebhook,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { eventsOf, factsOf, messageFactOf, otherFactsOf, payloadOf, RECEIVED_AT } from './meta-facts.ts'

const PHONE = META_CUSTOMER_PHONE
const USER_ID = 'US.10000000000000000001'
const NEW_USER_ID = 'US.10000000000000000002'
const PARENT_ID = 'US.ENT.20000000000000000001'

describe('the sender of a message', () => {
  test('has phone, user ids, name and username where Meta gives them all', () => {
    const ids = { from: PHONE, from_user_id: USER_ID, from_parent_user_id: PARENT_ID }
    const contact = metaContact({ username: 'ada', user_id: USER_ID, parent_user_id: PARENT_ID })

    expect(messageFactOf(metaMessage(ids), [contact]).contact).toEqual({
      phone: PHONE,
      user_id: USER_ID,
      parent_user_id: PARENT_ID,
      name: 'Ada Example',
      username: 'ada',
    })
  })

  test('has no phone where the person has a username and Meta leaves it out', () => {
    const message = metaMessage({ from: undefined, from_user_id: USER_ID, from_parent_user_id: PARENT_ID })
    const contact = metaContact({ wa_id: undefined, user_id: USER_ID, parent_user_id: PARENT_ID })

    expect(messageFactOf(message, [contact]).contact).toEqual({
      user_id: USER_ID,
      parent_user_id: PARENT_ID,
      name: 'Ada Example',
    })
  })

  test.each([
    [USER_ID, { user_id: USER_ID }],
    [PARENT_ID, { parent_user_id: PARENT_ID }],
    ['+1 555-123-0001', { phone: PHONE }],
    [15551230001, { phone: PHONE }],
    ['no-number', { user_id: 'no-number' }],
  ])('is told by the form of `from`, whatever stands in it: %s', (from, ref) => {
    expect(messageFactOf(metaMessage({ from })).contact).toEqual(ref)
  })

  test('is one user id where the BSUID stands in `from`, `from_user_id` and `wa_id`', () => {
    const message = metaMessage({ from: USER_ID, from_user_id: USER_ID })
    const contact = metaContact({ wa_id: USER_ID, user_id: USER_ID })

    expect(messageFactOf(message, [contact]).contact).toEqual({ user_id: USER_ID, name: 'Ada Example' })
  })

  test('has the ids that only the contact names', () => {
    const contact = metaContact({ user_id: USER_ID, parent_user_id: PARENT_ID })

    expect(messageFactOf(metaMessage({ from: PHONE }), [contact]).contact).toMatchObject({
      phone: PHONE,
      user_id: USER_ID,
      parent_user_id: PARENT_ID,
    })
  })

  test('is written without the @ that some webhooks put in front of a username', () => {
    expect(messageFactOf(metaMessage(), [metaContact({ username: '@ada' })]).contact.username).toBe('ada')
  })

  test('may be known by a name only, or not at all', () => {
    const message = metaMessage({ from: undefined })

    expect(messageFactOf(message, [metaContact({ wa_id: undefined })]).contact).toEqual({
      name: 'Ada Example',
    })
    expect(messageFactOf(message).contact).toEqual({})
  })

  test.each([{ from: {} }, { from: ['x'] }, { from: '' }, { from: 'x'.repeat(300) }, { from: true }])(
    'is nobody where Meta gives %j',
    (fields) => {
      expect(messageFactOf(metaMessage(fields)).contact).toEqual({})
    },
  )

  test('in a group stands beside the group', () => {
    const message = metaMessage({ group_id: 'group-1', from_user_id: USER_ID })

    expect(messageFactOf(message, [metaContact()])).toMatchObject({
      contact: { group_id: 'group-1' },
      sender: { phone: PHONE, user_id: USER_ID, name: 'Ada Example' },
    })
  })
})

describe('contacts', () => {
  const named = (contacts: Record<string, unknown>[], messages: Record<string, unknown>[]) =>
    factsOf(metaMessagesWebhook(messages, contacts)).map((fact) =>
      fact.kind === 'message' ? fact.contact.name : fact.kind,
    )

  test('belong to the message of the same person, whatever their order and number', () => {
    const ada = metaContact({ name: 'Ada', wa_id: '15550000001' })
    const ben = metaContact({ name: 'Ben', wa_id: '15550000002' })
    const [first, second, third] = ['15550000002', '15550000001', '15550000002'].map((from) =>
      metaMessage({ from }),
    )

    expect(named([ada, ben], [first!, second!, third!])).toEqual(['Ben', 'Ada', 'Ben'])
    expect(named([ada, ben, ada, ben], [second!, first!])).toEqual(['Ada', 'Ben'])
  })

  test('are found by user id where the phone is missing on one side', () => {
    const contact = metaContact({ wa_id: undefined, user_id: USER_ID })

    expect(named([contact], [metaMessage({ from_user_id: USER_ID })])).toEqual(['Ada Example'])
  })

  test('are found where they write the same number in another way', () => {
    const contact = metaContact({ wa_id: '5511987654321' })

    expect(named([contact], [metaMessage({ from: '551187654321' })])).toEqual(['Ada Example'])
  })

  test('of another person do not lend their name, and are kept as an event', () => {
    const stranger = metaContact({ name: 'Stranger', wa_id: '15550000009' })
    const [message, rest] = eventsOf(metaMessagesWebhook([metaMessage()], [stranger]))

    expect(named([stranger], [metaMessage()])).toEqual([undefined, 'other'])
    expect(message?.kind).toBe('message')
    expect(payloadOf(rest)).toMatchObject({ contacts: [stranger] })
  })

  test('without any id belong to the message only where they stand alone', () => {
    const nameless = metaContact({ name: 'Nobody', wa_id: undefined })

    expect(named([nameless], [metaMessage()])).toEqual(['Nobody'])
    expect(named([nameless, nameless], [metaMessage()])).toEqual([undefined, 'other'])
  })

  test.each([null, 7, 'x', [], { profile: 5 }, { wa_id: {}, profile: { name: 5 } }])(
    'of a wrong type harm nothing: %j',
    (contact) => {
      const facts = factsOf(metaWebhook([metaChange({ contacts: [contact], messages: [metaMessage()] })]))

      expect(facts[0]).toMatchObject({ kind: 'message', contact: { phone: PHONE } })
    },
  )

  test('that are no list are kept as an event', () => {
    const value = { contacts: 'gone', messages: [metaMessage()] }
    const [, rest] = eventsOf(metaWebhook([metaChange(value)]))

    expect(payloadOf(rest)).toMatchObject({ contacts: 'gone' })
  })
})

describe('a change of identity', () => {
  const changed_at = new Date(1760000000000)

  test('of the phone number comes as a system message', () => {
    const system = { type: 'user_changed_number', wa_id: '15551230002', body: 'User Ada changed from … to …' }

    expect(messageFactOf(metaMessage({ type: 'system', system }))).toMatchObject({
      contact: { phone: PHONE },
      identity: { from: { phone: PHONE }, to: { phone: '15551230002' }, changed_at },
    })
  })

  test('of the phone number brings the new user id with it', () => {
    const system = { type: 'user_changed_number', wa_id: '15551230002', user_id: NEW_USER_ID }
    const message = metaMessage({ type: 'system', system, from_user_id: USER_ID })

    expect(messageFactOf(message).identity).toEqual({
      from: { phone: PHONE, user_id: USER_ID },
      to: { phone: '15551230002', user_id: NEW_USER_ID },
      changed_at,
    })
  })

  test.each([
    [{ type: 'customer_changed_number', new_wa_id: '15551230002', customer: PHONE }, undefined],
    [{ type: 'customer_changed_number', wa_id: '15551230002' }, PHONE],
  ])('in its older forms: %j', (system, from) => {
    expect(messageFactOf(metaMessage({ type: 'system', system, from })).identity).toMatchObject({
      from: { phone: PHONE },
      to: { phone: '15551230002' },
    })
  })

  test('of the user id is read from the text where no field names the old one', () => {
    const system = {
      type: 'user_changed_user_id',
      user_id: NEW_USER_ID,
      body: `User Ada changed from ${USER_ID} to ${NEW_USER_ID}`,
    }

    expect(messageFactOf(metaMessage({ type: 'system', system, from: undefined }))).toMatchObject({
      contact: { user_id: USER_ID },
      identity: { from: { user_id: USER_ID }, to: { user_id: NEW_USER_ID }, changed_at },
    })
  })

  test('of both user ids is read from the fields that name the old ones', () => {
    const system = {
      type: 'user_changed_user_id',
      user_id: NEW_USER_ID,
      parent_user_id: 'US.ENT.30000000000000000001',
      previous_user_id: USER_ID,
      previous_parent_user_id: PARENT_ID,
    }

    expect(messageFactOf(metaMessage({ type: 'system', system, from: undefined })).identity).toMatchObject({
      from: { user_id: USER_ID, parent_user_id: PARENT_ID },
      to: { user_id: NEW_USER_ID, parent_user_id: 'US.ENT.30000000000000000001' },
    })
  })

  test('cannot be forged by a person who takes such a text as their name', () => {
    const forged = `changed from US.VICTIM to ${NEW_USER_ID}`
    const body = `User ${forged} changed from ${USER_ID} to ${NEW_USER_ID}`
    const system = { type: 'user_changed_user_id', user_id: NEW_USER_ID, body }
    const message = metaMessage({ type: 'system', system, from: undefined })

    expect(messageFactOf(message).identity?.from).toEqual({ user_id: USER_ID })
  })

  test('is not believed where text and fields disagree', () => {
    const system = { type: 'user_changed_user_id', user_id: NEW_USER_ID, body: 'from US.A to US.B' }
    const fact = messageFactOf(metaMessage({ type: 'system', system, from: undefined }))

    expect(fact.identity).toBeUndefined()
    expect(fact.contact).toEqual({ user_id: NEW_USER_ID })
  })

  test.each([
    { type: 'customer_identity_changed', identity: 'hash' },
    { type: 'user_changed_number' },
    { type: 'user_changed_number', wa_id: PHONE },
    { type: 'user_changed_number', wa_id: 5.5 },
    'no object',
    undefined,
  ])('is none where no other identity is told: %j', (system) => {
    const fact = messageFactOf(metaMessage({ type: 'system', system }))

    expect(fact.identity).toBeUndefined()
    expect(fact.contact).toEqual({ phone: PHONE })
  })

  test('is none in a message that is no system message', () => {
    expect(messageFactOf(metaMessage({ system: { wa_id: '15551230002' } })).identity).toBeUndefined()
  })

  test('of the user id comes as user_id_update, with objects where contacts have strings', () => {
    const update = {
      wa_id: PHONE,
      user_id: { previous: USER_ID, current: NEW_USER_ID },
      parent_user_id: { previous: PARENT_ID, current: 'US.ENT.30000000000000000001' },
      timestamp: '1760000000',
    }
    const value = { contacts: [metaContact()], user_id_update: [update] }

    expect(otherFactsOf('user_id_update', value)).toEqual([
      {
        kind: 'other',
        identities: [
          {
            from: { user_id: USER_ID, parent_user_id: PARENT_ID },
            to: {
              phone: PHONE,
              user_id: NEW_USER_ID,
              parent_user_id: 'US.ENT.30000000000000000001',
              name: 'Ada Example',
            },
            changed_at,
          },
        ],
        contacts: [{ phone: PHONE, name: 'Ada Example' }],
      },
    ])
  })

  test.each([
    { user_id: { current: NEW_USER_ID } },
    { user_id: { previous: USER_ID } },
    { user_id: 'US.1' },
    {},
  ])('is none in a user_id_update of %j', (update) => {
    expect(otherFactsOf('user_id_update', { user_id_update: [update] })).toMatchObject([{ identities: [] }])
  })

  test('without a time of its own happened when the webhook came', () => {
    const update = { user_id: { previous: USER_ID, current: NEW_USER_ID } }
    const [fact] = otherFactsOf('user_id_update', { user_id_update: [update] })

    expect(fact?.identities[0]?.changed_at).toEqual(new Date(RECEIVED_AT))
  })
})
