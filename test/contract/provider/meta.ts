import fc from 'fast-check'
import { configureProvider } from '../../../src/providers/definition.ts'
import { meta } from '../../../src/providers/meta/definition.ts'
import { anyText } from '../../support/any-text.ts'
import { startFakeMeta } from '../../support/fake-meta.ts'
import {
  META_PHONE_NUMBER_ID,
  metaChange,
  metaContact,
  metaHeaders,
  metaMessage,
  metaMessagesWebhook,
  metaStatus,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import type { ProviderUnderTest } from '../provider.contract.ts'

type Json = Record<string, unknown>

const NOT_SET = {
  META_VERIFY_TOKEN: undefined,
  META_ACCESS_TOKEN: undefined,
  META_PHONE_NUMBER_ID: undefined,
  META_GRAPH_URL: 'https://graph.example.com/v26.0',
}
const ID = 'wamid.HBgLMTU1NTEyMzAwMDEVAgASGBQzQUFBQUFBQUFBQUFBQUFBQUFBMQA='
const OTHER_ID = 'wamid.HBgLMTU1NTEyMzAwMDIVAgARGBI5QkJCQkJCQkJCQkJCQkJCQjIA'

const MESSAGE_TYPES = [
  ...[
    'text',
    'image',
    'video',
    'audio',
    'voice',
    'document',
    'sticker',
    'location',
    'contacts',
    'interactive',
  ],
  ...['button', 'reaction', 'order', 'system', 'request_welcome', 'edit', 'revoke', 'unsupported', 'unknown'],
]
const FIELDS = [
  'messages',
  'smb_message_echoes',
  'history',
  'calls',
  'user_id_update',
  'standby',
  'messaging_handovers',
  'account_update',
  'in_orbit',
]
const LISTS = [
  'messages',
  'statuses',
  'message_echoes',
  'history',
  'calls',
  'user_id_update',
  'contacts',
  'errors',
]

const MESSAGE_KEYS = ['id', 'from', 'from_user_id', 'timestamp', 'type', 'context', 'group_id', 'errors']
const STATUS_KEYS = ['id', 'status', 'recipient_id', 'timestamp', 'recipient_participant_id', 'pricing']

const anyJson = fc.jsonValue({ maxDepth: 2 })
const anyString = fc.oneof(fc.constantFrom(ID, '1760000000', '15551230001', 'US.1234', ''), anyText())
const anyScalar = fc.oneof(anyString, anyJson)
const anyContent = fc.dictionary(
  fc.constantFrom(
    'body',
    'id',
    'caption',
    'link',
    'message_id',
    'emoji',
    'type',
    'message',
    'name',
    'response_json',
  ),
  anyScalar,
)
const anyItem = fc
  .record(
    {
      id: anyScalar,
      from: anyScalar,
      to: anyScalar,
      timestamp: anyScalar,
      type: fc.oneof(fc.constantFrom(...MESSAGE_TYPES), anyScalar),
      status: fc.oneof(fc.constantFrom('sent', 'read'), anyScalar),
      context: anyContent,
      referral: anyContent,
      errors: fc.oneof(fc.array(anyContent), anyJson),
      recipient_id: anyScalar,
      group_id: anyScalar,
      recipient_type: fc.constantFrom('group', 'individual', 7),
      content: fc.oneof(anyContent, anyJson),
      threads: fc.array(fc.record({ id: anyScalar, messages: fc.array(anyContent) })),
    },
    { requiredKeys: [] },
  )
  .map(({ content, ...item }) => ({ ...item, [typeof item.type === 'string' ? item.type : 'text']: content }))
const anyValue = fc.dictionary(
  fc.constantFrom(...LISTS, 'metadata', 'standby', 'x'),
  fc.oneof(fc.array(anyItem, { maxLength: 3 }), anyJson),
)
const anyChange = fc.record({
  field: fc.oneof(fc.constantFrom(...FIELDS), anyJson),
  value: fc.oneof(anyValue, anyJson),
})
const anyEntry = fc.record({
  id: anyScalar,
  time: anyScalar,
  changes: fc.array(fc.oneof(anyChange, anyJson), { maxLength: 3 }),
})

export const metaUnderTest: ProviderUnderTest = {
  definition: meta,
  createProvider: (appSecrets) =>
    configureProvider(meta, { ...NOT_SET, META_APP_SECRET: [...appSecrets] }, {}),
  signatureHeader: 'x-hub-signature-256',
  sign: (rawBody, appSecret) => ({
    rawBody,
    headers: metaHeaders(rawBody, appSecret),
    url: '/webhooks/meta',
    received_at: 1_763_700_000_000,
  }),
  messageIds: [ID, OTHER_ID],
  messageBody: ({ id, text = 'hello' }) =>
    encode(metaMessagesWebhook([metaMessage({ id, text: { body: text } })], [metaContact()])),
  statusBody: ({ id, status }) =>
    encode(metaWebhook([metaChange({ statuses: [metaStatus({ id, status })] })])),
  otherBody: () =>
    encode(
      metaWebhook([{ field: 'account_update', value: { event: 'VERIFIED_ACCOUNT' } }], { time: 1760000000 }),
    ),
  bodiesWith: (value) => [...hostileBodies(value)].map(encode),
  anyBody: fc
    .record({ object: anyScalar, entry: fc.oneof(fc.array(fc.oneof(anyEntry, anyJson)), anyJson) })
    .map(encode),
  startApi: async () => {
    const { graphUrl, ...server } = await startFakeMeta()
    const credential = 'EAAG-token-of-the-contract'
    return { server, env: { META_ACCESS_TOKEN: credential, META_GRAPH_URL: graphUrl }, credential }
  },
  businessNumber: META_PHONE_NUMBER_ID,
  refusal: { status: 400, body: { error: { message: 'refused', type: 'OAuthException', code: 131026 } } },
}

function* hostileBodies(value: string): Generator<Json> {
  const isLong = value.length > 1_000_000
  const item = { id: ID, timestamp: '1760000000', from: '15551230001' }
  if (!isLong) {
    for (const type of MESSAGE_TYPES) {
      yield metaMessagesWebhook([{ ...item, type, [type]: value }])
      yield metaMessagesWebhook([{ ...item, type, [type]: everyKey(value) }])
    }
    for (const field of FIELDS) {
      yield metaWebhook([{ field, value }])
      for (const list of LISTS)
        yield metaWebhook([metaChange({ [list]: [value, { id: ID, [value]: value }] }, field)])
    }
    yield metaWebhook([{ field: value, value: { [value]: value } }], {
      id: value,
      time: value,
      [value]: value,
    })
  }
  for (const key of isLong ? ['id', 'from', 'type'] : MESSAGE_KEYS) {
    yield metaMessagesWebhook([{ ...metaMessage({ id: ID }), [key]: value }], [metaContact({ name: value })])
  }
  for (const key of isLong ? ['status'] : STATUS_KEYS) {
    const status = { ...metaStatus({ id: ID }), recipient_type: 'group', [key]: value }
    yield metaWebhook([metaChange({ statuses: [status] })])
  }
}

/** An object with this value under every name that the types use. */
function everyKey(value: string): Json {
  const names = [
    'body',
    'id',
    'caption',
    'mime_type',
    'sha256',
    'url',
    'filename',
    'name',
    'address',
    'latitude',
    'title',
  ]
  return Object.fromEntries(
    [...names, 'emoji', 'message_id', 'text', 'type', 'wa_id', value].map((name) => [name, value]),
  )
}

function encode(body: unknown): Buffer {
  return Buffer.from(JSON.stringify(body))
}
