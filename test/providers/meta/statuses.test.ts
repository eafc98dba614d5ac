import { describe, expect, test } from 'vitest'
import {
  META_ACCOUNT,
  META_CUSTOMER_PHONE,
  META_PHONE_NUMBER_ID,
  metaChange,
  metaContact,
  metaStatus,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { eventsOf, jobsOf, onlyStatus } from './meta-facts.ts'

const USER_ID = 'US.10000000000000000001'
const PARENT_ID = 'US.ENT.20000000000000000001'
const GROUP = { recipient_id: 'group-1', recipient_type: 'group' }

const statusOf = (fields: Record<string, unknown>) => onlyStatus({ statuses: [metaStatus(fields)] })

describe('a status', () => {
  test('says which message, when, of which number, and for whom', () => {
    const status = metaStatus({ id: 'wamid.A', status: 'delivered', recipient_user_id: USER_ID })

    expect(onlyStatus({ statuses: [status] })).toEqual({
      kind: 'status',
      provider: 'meta',
      account: META_ACCOUNT,
      business_number: META_PHONE_NUMBER_ID,
      wa_message_id: 'wamid.A',
      status: 'delivered',
      participant: '',
      recipient: { phone: META_CUSTOMER_PHONE, user_id: USER_ID },
      occurred_at: new Date(1760000001000),
    })
  })

  test.each(['sent', 'delivered', 'read', 'played', 'failed', 'deleted', 'warning', 'in_orbit', 'Odd: One'])(
    'may be %s',
    (status) => {
      expect(statusOf({ status }).status).toBe(status)
    },
  )

  test('keeps errors, pricing and conversation as they came', () => {
    const errors = [{ code: 131049, title: 'Not delivered', error_data: { details: 'why' }, href: '/x' }]
    const pricing = { billable: true, pricing_model: 'PMP', type: 'regular', category: 'marketing' }
    const conversation = { id: 'c-1', expiration_timestamp: '1760086400', origin: { type: 'marketing' } }
    const fact = statusOf({ status: 'sent', errors, pricing, conversation })

    expect(JSON.parse(fact.errors ?? '')).toEqual(errors)
    expect(JSON.parse(fact.pricing ?? '')).toEqual(pricing)
    expect(JSON.parse(fact.conversation ?? '')).toEqual(conversation)
  })

  test.each([
    { errors: [] },
    { errors: 'no list' },
    { pricing: 'no object' },
    { conversation: [] },
    { timestamp: 'never' },
  ])('leaves out what is not of its type: %j', (fields) => {
    const fact = statusOf(fields)

    expect(fact.errors ?? fact.pricing ?? fact.conversation).toBeUndefined()
    expect(fact.occurred_at === undefined).toBe('timestamp' in fields)
  })

  test('may come without any recipient, as `failed` does', () => {
    expect(statusOf({ status: 'failed', recipient_id: undefined }).recipient).toBeUndefined()
  })

  test.each([
    { recipient_parent_user_id: PARENT_ID },
    { parent_recipient_user_id: PARENT_ID },
    { parent_user_id: PARENT_ID },
  ])('has the parent user id in each of its spellings: %j', (fields) => {
    expect(statusOf({ recipient_id: undefined, ...fields }).recipient).toEqual({ parent_user_id: PARENT_ID })
  })

  test('takes a user id in recipient_id as what it is', () => {
    expect(statusOf({ recipient_id: USER_ID }).recipient).toEqual({ user_id: USER_ID })
  })

  test('links the identifiers that its contact adds', () => {
    const contacts = [metaContact({ user_id: USER_ID, username: 'ada' })]

    expect(onlyStatus({ contacts, statuses: [metaStatus()] }).recipient).toEqual({
      phone: META_CUSTOMER_PHONE,
      user_id: USER_ID,
      name: 'Ada Example',
      username: 'ada',
    })
  })

  test('brings back the id that we gave at sending, and nobody else’s data', () => {
    const uuid = '0b6ff1a2-9a3c-4a53-9d53-3d3a3a4d5e6f'

    expect(statusOf({ biz_opaque_callback_data: uuid.toUpperCase() }).callback_id).toBe(uuid)
    expect(statusOf({ biz_opaque_callback_data: 'campaign 7' }).callback_id).toBeUndefined()
  })

  test('of a message from a number without id is filed under the number as shown', () => {
    const value = { metadata: { display_phone_number: '+1 555-000-9999' }, statuses: [metaStatus()] }

    expect(onlyStatus(value).business_number).toBe('15550009999')
    expect(onlyStatus({ ...value, metadata: undefined }).business_number).toBe(META_ACCOUNT)
  })
})

describe('a status in a group', () => {
  test('is told apart by the member, and goes to the group', () => {
    const fields = {
      ...GROUP,
      recipient_participant_id: '15551230007',
      recipient_participant_user_id: USER_ID,
    }

    expect(statusOf(fields)).toMatchObject({ participant: '15551230007', recipient: { group_id: 'group-1' } })
  })

  test.each([
    { recipient_participant_user_id: USER_ID },
    { recipient_participant_parent_user_id: PARENT_ID },
  ])('names the member by user id where the phone is not shown: %j', (fields) => {
    expect(statusOf({ ...GROUP, ...fields }).participant).toBe(Object.values(fields)[0])
  })

  test('is of a group when it names a participant, whatever its recipient type', () => {
    const fields = { recipient_id: 'group-1', recipient_participant_id: '15551230007' }

    for (const recipient_type of [undefined, 'individual'])
      expect(statusOf({ ...fields, recipient_type })).toMatchObject({
        participant: '15551230007',
        recipient: { group_id: 'group-1' },
      })
  })

  test('about nobody in particular has no participant', () => {
    expect(statusOf(GROUP)).toMatchObject({ participant: '', recipient: { group_id: 'group-1' } })
  })

  test('has a job for every member', () => {
    const statuses = ['15551230007', '15551230008'].map((recipient_participant_id) =>
      metaStatus({ ...GROUP, id: 'wamid.A', status: 'read', recipient_participant_id }),
    )

    expect(jobsOf(metaWebhook([metaChange({ statuses })])).map((job) => job.job_id)).toEqual([
      'status.read.wamid.A.15551230007',
      'status.read.wamid.A.15551230008',
    ])
  })
})

describe('a status that is none', () => {
  test.each([
    [{ id: undefined }, 'status has no id'],
    [{ id: 7 }, 'status has an id that is not a string'],
    [{ id: '' }, 'status has an empty id'],
    [{ id: 'x'.repeat(513) }, 'status has an id longer than 512 bytes'],
    [{ id: 'a\u0000b' }, 'status has an id with characters that PostgreSQL cannot store'],
    [{ status: undefined }, 'status has no status word'],
    [{ status: 4 }, 'status has no status word'],
    [{ status: '' }, 'status has no status word'],
  ])('is parked: %j', (fields, reason) => {
    const [event] = eventsOf(metaWebhook([metaChange({ statuses: [metaStatus(fields)] })]))

    expect(event).toMatchObject({ kind: 'status', park: reason })
  })
})
