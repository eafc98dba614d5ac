import { describe, expect, test } from 'vitest'
import {
  META_ACCOUNT,
  META_CUSTOMER_PHONE,
  META_PHONE_NUMBER_ID,
  metaChange,
  metaContact,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { eventsOf, factsOf, jobsOf, otherFactsOf, payloadOf } from './meta-facts.ts'

const PHONE = META_CUSTOMER_PHONE
const USER_ID = 'US.10000000000000000001'

/** Account events: no metadata, no id, one event each. */
const ACCOUNT_EVENTS: [string, unknown][] = [
  ['account_update', { event: 'PARTNER_REMOVED', waba_info: { waba_id: META_ACCOUNT } }],
  ['account_alerts', { entity_type: 'PHONE_NUMBER', alert_type: 'OBA_APPROVED' }],
  ['account_review_update', { decision: 'APPROVED' }],
  ['account_settings_update', { type: 'phone_number_settings' }],
  ['business_capability_update', { max_daily_conversation_per_phone: 1000 }],
  [
    'business_username_updates',
    { display_phone_number: '15550009999', username: 'bakery', status: 'approved' },
  ],
  ['message_template_status_update', { event: 'APPROVED', message_template_id: 594425479261596 }],
  ['message_template_quality_update', { previous_quality_score: 'GREEN', new_quality_score: 'YELLOW' }],
  ['message_template_components_update', { message_template_id: 1, message_template_element: 'x' }],
  ['template_category_update', { previous_category: 'UTILITY', new_category: 'MARKETING' }],
  ['phone_number_name_update', { decision: 'APPROVED', requested_verified_name: 'Bakery' }],
  ['phone_number_quality_update', { event: 'UPGRADE', current_limit: 'TIER_10K' }],
  ['security', { event: 'PIN_CHANGED' }],
  ['flows', { event: 'FLOW_STATUS_CHANGE', flow_id: '1' }],
  ['partner_solutions', { event: 'SOLUTION_CREATED' }],
  ['payment_configuration_update', { configuration_name: 'default' }],
  ['a_field_of_tomorrow', { anything: [1, { deep: true }] }],
]

describe('events without an id of their own', () => {
  test.each(ACCOUNT_EVENTS)('%s is kept whole, as one event', (field, value) => {
    const [event, ...more] = eventsOf(metaWebhook([{ field, value }], { time: 1760000000 }))

    expect(more).toEqual([])
    expect(event).toMatchObject({ kind: 'other', provider: 'meta', account: META_ACCOUNT, field })
    expect(payloadOf(event)).toEqual(value)
    expect(JSON.parse(event?.context ?? '')).toEqual({ entry_time: '1760000000' })
    expect(event?.park).toBeUndefined()
  })

  test('are the same event when account, time, field and value are', () => {
    const id = (entry: Record<string, unknown>, change: Record<string, unknown>) =>
      jobsOf(metaWebhook([{ field: 'security', value: { event: 'PIN_CHANGED' }, ...change }], entry))[0]
        ?.job_id

    const original = id({ time: 1 }, {})

    expect(original).toMatch(/^event\.[0-9a-f]{64}$/)
    expect(id({ time: 1 }, {})).toBe(original)
    const others = [
      id({ time: 2 }, {}),
      id({ time: 1, id: '2' }, {}),
      id({ time: 1 }, { field: 'flows' }),
      id({ time: 1 }, { value: { event: 'PIN_REMOVED' } }),
    ]
    expect(new Set([original, ...others]).size).toBe(5)
  })

  test('of an error of the number keep it, and the number it is about', () => {
    const errors = [{ code: 130429, title: 'Rate limit hit' }]
    const [event] = eventsOf(metaWebhook([metaChange({ errors })]))

    expect(event).toMatchObject({ kind: 'other', business_number: META_PHONE_NUMBER_ID })
    expect(payloadOf(event)).toMatchObject({ errors, messaging_product: 'whatsapp' })
  })
})

describe('lists whose items stand for themselves', () => {
  const call = (id: string) => ({
    id,
    from: PHONE,
    from_user_id: USER_ID,
    event: 'connect',
    direction: 'USER_INITIATED',
    session: { sdp_type: 'offer', sdp: 'v=0\r\n' },
  })

  test.each<[string, string, unknown[]]>([
    ['calls', 'calls', [call('wacid.1'), call('wacid.2')]],
    ['calls', 'statuses', [{ id: 'wacid.1', type: 'call', status: 'RINGING', recipient_id: PHONE }]],
    [
      'messages',
      'statuses',
      ['pending', 'captured', 'failed'].map((status) => ({
        id: 'wamid.ORDER',
        type: 'payment',
        status,
        recipient_id: PHONE,
        payment: { reference_id: 'order-1', amount: { value: 1250, offset: 100 }, currency: 'INR' },
      })),
    ],
    ['group_lifecycle_update', 'groups', [{ type: 'group_create', group_id: 'group-1' }]],
    ['group_participants_update', 'groups', [{ type: 'group_participants_add', group_id: 'group-1' }]],
    ['group_settings_update', 'groups', [{ type: 'group_settings_update', group_id: 'group-1' }]],
    ['group_status_update', 'groups', [{ type: 'group_suspend', group_id: 'group-1' }]],
    [
      'user_preferences',
      'user_preferences',
      [{ wa_id: PHONE, category: 'marketing_messages', value: 'stop' }],
    ],
    ['user_id_update', 'user_id_update', [{ user_id: { previous: 'US.1', current: 'US.2' } }]],
    ['smb_app_state_sync', 'state_sync', [{ type: 'contact', action: 'add', contact: { full_name: 'A' } }]],
    ['automatic_events', 'automatic_events', [{ id: 'wamid.A', event_name: 'Purchase' }]],
  ])('%s: each of its %s is an event', (field, name, items) => {
    const events = eventsOf(metaWebhook([metaChange({ [name]: items }, field)]))

    expect(events.map((event) => [event.kind, event.field])).toEqual(items.map(() => ['other', field]))
    expect(events.map(payloadOf)).toEqual(items)
    expect(events.every((event) => event.wa_message_id === undefined)).toBe(true)
  })

  test('are recognised one by one when Meta batches them in another way', () => {
    const ids = (calls: unknown[]) =>
      jobsOf(metaWebhook([metaChange({ calls }, 'calls')])).map((job) => job.job_id)

    const [first, second] = ids([call('wacid.1'), call('wacid.2')])

    expect(ids([call('wacid.2')])).toEqual([second])
    expect(first).not.toBe(second)
  })

  test('park an item that is no object', () => {
    const [event] = eventsOf(metaWebhook([metaChange({ calls: [7] }, 'calls')]))

    expect(event).toMatchObject({ kind: 'other', payload: '7', park: 'item of calls is not an object' })
  })
})

describe('what other events tell of people', () => {
  test('the address book names them', () => {
    const contact = { full_name: 'Ada Example', first_name: 'Ada', phone_number: '+1 555 123 0001' }
    const state_sync = [
      { type: 'contact', action: 'add', contact },
      { type: 'contact', action: 'add', contact: { ...contact, full_name: undefined } },
      { type: 'contact', action: 'remove', contact },
      { type: 'contact', action: 'add' },
    ]

    expect(otherFactsOf('smb_app_state_sync', { state_sync }).map((fact) => fact.contacts)).toEqual([
      [{ phone: PHONE, name: 'Ada Example' }],
      [{ phone: PHONE, name: 'Ada' }],
      [],
      [],
    ])
  })

  test('a call links phone and user id through its contact', () => {
    const value = { contacts: [metaContact({ user_id: USER_ID })], calls: [{ id: 'wacid.1', from: PHONE }] }

    expect(otherFactsOf('calls', value)).toMatchObject([
      { contacts: [{ phone: PHONE, user_id: USER_ID, name: 'Ada Example' }] },
    ])
  })

  test('a preference links the ids that it names', () => {
    const user_preferences = [{ wa_id: PHONE, user_id: USER_ID, value: 'stop' }]

    expect(otherFactsOf('user_preferences', { user_preferences })).toMatchObject([
      { contacts: [{ phone: PHONE, user_id: USER_ID }] },
    ])
  })

  test('a group names its members, where it tells more than one thing of them', () => {
    const added = { wa_id: PHONE, user_id: USER_ID, username: 'ada' }
    const groups = [
      { group_id: 'group-1', added_participants: [added, { wa_id: '15551230002' }, null] },
      { group_id: 'group-1', type: 'group_join_request_created', ...added },
    ]

    const facts = otherFactsOf('group_participants_update', { groups })

    expect(facts.map((fact) => fact.contacts)).toEqual([
      [{ phone: PHONE, user_id: USER_ID, username: 'ada' }],
      [{ phone: PHONE, user_id: USER_ID, username: 'ada' }],
    ])
  })

  test.each(ACCOUNT_EVENTS)('%s tells nothing', (field, value) => {
    expect(factsOf(metaWebhook([{ field, value }]))).toEqual([
      { kind: 'other', identities: [], contacts: [] },
    ])
  })
})
