/** Well-formed webhooks of every kind that the providers send, each item with a mark: what the mutations start from. */
import { IMAGE, MESSAGE_FIXTURES } from '../../providers/meta/fixtures.ts'
import {
  META_BUSINESS_PHONE,
  META_CUSTOMER_PHONE,
  metaChange,
  metaContact,
  metaHandover,
  metaMessage,
  metaSentEcho,
  metaStatus,
  metaWebhook,
} from '../meta-webhooks.ts'
import { type TwilioForm, twilioMessage, twilioStatus } from '../twilio-webhooks.ts'
import { MARK_KEY, type Marker } from './marks.ts'

type Json = Record<string, unknown>
type Build = (marker: Marker) => Json

const USER_ID = 'US.10000000000000000001'

const marked = (marker: Marker, item: Json): Json => ({ ...item, [MARK_KEY]: marker.mark() })
const message = (marker: Marker, fields: Json = {}) =>
  marked(marker, metaMessage({ id: `wamid.${marker.unique()}`, ...fields }))
const status = (marker: Marker, fields: Json = {}) =>
  marked(marker, metaStatus({ id: `wamid.${marker.unique()}`, ...fields }))
const change = (marker: Marker, value: Json, field?: string) =>
  marked(marker, metaChange(marked(marker, value), field))
const webhook = (marker: Marker, changes: Json[], time?: number) =>
  marked(marker, metaWebhook(changes, marked(marker, time === undefined ? {} : { time })))

const messages: Build[] = MESSAGE_FIXTURES.map(({ message: fixture }) => (marker) => {
  const contacts = [metaContact({ user_id: USER_ID, username: 'ada' })]
  return webhook(marker, [change(marker, { contacts, messages: [message(marker, fixture)] })])
})

/** Of a number that nobody else has: what a change adds, its redelivery must not add again. */
const numberChange: Build = (marker) => {
  const [from, to] = [marker.unique(), marker.unique()].map((unique) => `1555${unique.slice(1)}`)
  const system = { type: 'user_changed_number', wa_id: to, body: `User Ada changed from ${from} to ${to}` }
  return webhook(marker, [change(marker, { messages: [message(marker, { type: 'system', from, system })] })])
}

const history: Build = (marker) => {
  const thread = {
    id: META_CUSTOMER_PHONE,
    messages: [
      message(marker, { history_context: { status: 'READ' }, from: META_BUSINESS_PHONE }),
      message(marker, { type: 'media_placeholder', history_context: { status: 'DELIVERED' } }),
      message(marker, { type: 'image', image: IMAGE }),
    ],
  }
  const chunk = marked(marker, { metadata: { phase: 0, chunk_order: 1, progress: 55 }, threads: [thread] })
  return webhook(marker, [change(marker, { history: [chunk] }, 'history')])
}

const standby: Build = (marker) => {
  const lists = {
    contacts: [metaContact({ user_id: USER_ID })],
    messages: [message(marker), message(marker, { type: 'audio', audio: IMAGE })],
    message_echoes: [
      marked(marker, metaSentEcho({}, { id: `wamid.${marker.unique()}` })),
      marked(marker, metaSentEcho({ to: undefined, recipient: USER_ID }, { id: `wamid.${marker.unique()}` })),
    ],
    statuses: [status(marker, { status: 'read' })],
  }
  const handover = marked(marker, metaHandover({ timestamp: '1760000100' }))
  return webhook(marker, [change(marker, { standby: marked(marker, lists) }, 'standby'), handover])
}

const others: readonly [field: string, value: (marker: Marker) => Json][] = [
  [
    'calls',
    (marker) => ({ calls: [marked(marker, { id: 'wacid.1', event: 'connect', session: { sdp: 'v=0' } })] }),
  ],
  ['calls', (marker) => ({ statuses: [marked(marker, { id: 'wacid.2', type: 'call', status: 'RINGING' })] })],
  [
    'group_participants_update',
    (marker) => ({ groups: [marked(marker, { added_participants: [{ wa_id: META_CUSTOMER_PHONE }] })] }),
  ],
  [
    'user_preferences',
    (marker) => ({
      user_preferences: [marked(marker, { wa_id: META_CUSTOMER_PHONE, value: 'stop', timestamp: 1 })],
    }),
  ],
  [
    'user_id_update',
    (marker) => ({
      user_id_update: [
        marked(marker, { user_id: { previous: `US.${marker.unique()}`, current: `US.${marker.unique()}` } }),
      ],
    }),
  ],
  [
    'smb_app_state_sync',
    (marker) => ({
      state_sync: [
        marked(marker, { action: 'add', contact: { full_name: 'Ben', phone_number: '15551230002' } }),
      ],
    }),
  ],
  ['account_update', (marker) => ({ event: 'PARTNER_REMOVED', waba_info: { waba_id: marker.unique() } })],
  [
    'messages',
    () => ({ errors: [{ code: 130429, title: 'Rate limit hit', error_data: { details: 'Slow down' } }] }),
  ],
  ['a_field_of_tomorrow', () => ({ anything: [1, { deep: [true, null] }] })],
]

const mixed: Build = (marker) =>
  webhook(
    marker,
    [
      change(marker, {
        contacts: [metaContact(), metaContact({ wa_id: '15551230003', name: 'Cleo' })],
        messages: [
          message(marker),
          message(marker, { from: '15551230003', context: { id: 'wamid.before', forwarded: true } }),
          message(marker, {
            group_id: 'group-1',
            referral: { source_url: 'https://x.test', ctwa_clid: 'c' },
          }),
          message(marker, { from: undefined, from_user_id: USER_ID }),
        ],
        statuses: [status(marker)],
        errors: [{ code: 131000 }],
      }),
      change(marker, { messages: [message(marker), message(marker)] }),
    ],
    1_760_000_000,
  )

export const META_WEBHOOKS: readonly Build[] = [
  ...messages,
  mixed,
  numberChange,
  numberChange,
  standby,
  history,
  (marker) =>
    webhook(marker, [
      change(
        marker,
        {
          message_echoes: MESSAGE_FIXTURES.slice(0, 4).map((fixture) =>
            message(marker, { to: META_CUSTOMER_PHONE, ...fixture.message }),
          ),
        },
        'smb_message_echoes',
      ),
    ]),
  (marker) =>
    webhook(marker, [
      change(marker, {
        statuses: ['sent', 'delivered', 'read', 'played', 'failed', 'deleted', 'in_orbit'].map((word) =>
          status(marker, {
            status: word,
            pricing: { billable: true },
            conversation: { id: 'c' },
            errors: [{ code: 1 }],
          }),
        ),
      }),
    ]),
  (marker) =>
    webhook(marker, [
      change(marker, {
        statuses: [
          status(marker, {
            recipient_type: 'group',
            recipient_id: 'group-1',
            recipient_participant_id: '15551230001',
          }),
          status(marker, {
            biz_opaque_callback_data: '7f2c1de0-0000-4000-8000-000000000001',
            recipient_user_id: USER_ID,
          }),
        ],
      }),
    ]),
  ...others.map(
    ([field, value]): Build =>
      (marker) =>
        webhook(marker, [change(marker, value(marker), field)], 1_760_000_000),
  ),
]

const sid = (marker: Marker, prefix = 'SM') => prefix + marker.unique().slice(1).padStart(32, '0')

const MEDIA = {
  NumMedia: '1',
  MediaUrl0: 'https://api.twilio.com/x/Media/ME0',
  MediaContentType0: 'image/jpeg',
}
const INBOUND: readonly TwilioForm[] = [
  {},
  MEDIA,
  { ...MEDIA, MediaUrl1: 'https://x.test/1', MediaContentType1: 'application/pdf', Body: 'offer.pdf' },
  { Latitude: '40.1', Longitude: '-3.5', Label: 'Bakery', Address: '1 Mill Lane', MessageType: 'location' },
  { ButtonText: 'Yes', ButtonPayload: 'yes-1', ButtonType: 'REPLY', MessageType: 'button' },
  { InteractiveData: '{"list_reply":{"id":"1","title":"Tuesday"}}', FlowData: '{"a":[1,{"b":2}]}' },
  { OriginalRepliedMessageSid: `SM${'1'.repeat(32)}`, Forwarded: 'true', FrequentlyForwarded: 'true' },
  { ReferralBody: 'ad', ReferralSourceUrl: 'https://x.test', ReferralCtwaClid: 'c', ReferralNumMedia: '1' },
  { From: 'whatsapp:US.1234567890', WaId: undefined, ExternalUserId: 'whatsapp:US.1234567890' },
  { ChannelMetadata: '{"type":"whatsapp","data":{"context":{}}}', ErrorCode: '63016' },
]
const STATUSES = [
  'queued',
  'sending',
  'sent',
  'delivered',
  'read',
  'failed',
  'undelivered',
  'accepted',
  'canceled',
  'in_orbit',
]

export const TWILIO_FORMS: readonly ((marker: Marker) => TwilioForm)[] = [
  ...INBOUND.map((fields) => (marker: Marker) => ({
    ...twilioMessage({ MessageSid: sid(marker, 'NumMedia' in fields ? 'MM' : 'SM'), ...fields }),
    [MARK_KEY]: marker.mark(),
  })),
  ...STATUSES.map((word) => (marker: Marker) => ({
    ...twilioStatus(word, { MessageSid: sid(marker), ErrorCode: '63018', ErrorMessage: 'slow' }),
    [MARK_KEY]: marker.mark(),
  })),
  (marker) => ({
    EventType: 'onConversationAdded',
    ConversationSid: marker.unique(),
    [MARK_KEY]: marker.mark(),
  }),
]

/** What Event Streams and custom senders post as JSON. */
export const TWILIO_LISTS: readonly ((marker: Marker) => unknown)[] = [
  (marker) => [
    { ...twilioMessage({ MessageSid: sid(marker) }), [MARK_KEY]: marker.mark() },
    { ...twilioStatus('read', { MessageSid: sid(marker) }), [MARK_KEY]: marker.mark() },
    {
      specversion: '1.0',
      type: 'com.twilio.messaging.inbound-message.received',
      data: {},
      [MARK_KEY]: marker.mark(),
    },
  ],
  (marker) => ({ ...twilioMessage({ MessageSid: sid(marker) }), [MARK_KEY]: marker.mark() }),
]
