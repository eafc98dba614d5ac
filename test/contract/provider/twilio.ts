import fc from 'fast-check'
import { configureProvider } from '../../../src/providers/definition.ts'
import { twilio } from '../../../src/providers/twilio/definition.ts'
import { anyText } from '../../support/any-text.ts'
import { startFakeTwilio, TWILIO_SENDING_ACCOUNT } from '../../support/fake-twilio.ts'
import {
  encodeTwilioForm,
  TWILIO_AUTH_TOKEN,
  TWILIO_PUBLIC_URL,
  type TwilioForm,
  twilioMessage,
  twilioSid,
  twilioStatus,
  twilioWebhook,
} from '../../support/twilio-webhooks.ts'
import type { ProviderUnderTest } from '../provider.contract.ts'

const NOT_SET = {
  TWILIO_ACCOUNT_SID: undefined,
  TWILIO_FROM: undefined,
  TWILIO_API_URL: 'https://api.example.com',
  TWILIO_BACKFILL_MINUTES: 0,
}

const FIELDS = [
  ...Object.keys(twilioMessage()),
  ...Object.keys(twilioStatus('read')),
  ...[
    'MediaUrl0',
    'MediaContentType0',
    'MediaUrl7',
    'Latitude',
    'Longitude',
    'Label',
    'Address',
    'ButtonText',
  ],
  ...['ButtonPayload', 'ListId', 'ListTitle', 'InteractiveData', 'FlowData', 'OriginalRepliedMessageSid'],
  ...['Forwarded', 'FrequentlyForwarded', 'ReferralSourceUrl', 'ReferralCtwaClid', 'ExternalUserId'],
  ...[
    'ProfileUsername',
    'ErrorCode',
    'ErrorMessage',
    'ErrorUrl',
    'MessagingServiceSid',
    'ConversationSid',
    '',
  ],
]

/** What is read differently from each other; the megabytes of the others would only take time. */
const LONG_FIELDS = ['MessageSid', 'SmsStatus', 'From', 'Body', 'MediaUrl0', 'FlowData']

const anyValue = fc.oneof(
  anyText(20),
  fc.json({ maxDepth: 3 }),
  fc.constantFrom(
    'received',
    'sent',
    'READ',
    'true',
    '0',
    'whatsapp:+15551230001',
    'whatsapp:US.1234',
    twilioSid(1),
  ),
)
const anyForm = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...FIELDS), fc.string()), anyValue), {
  maxLength: 25,
})

export const twilioUnderTest: ProviderUnderTest = {
  definition: twilio,
  createProvider: (authTokens) =>
    configureProvider(
      twilio,
      { ...NOT_SET, TWILIO_AUTH_TOKEN: [...authTokens] },
      { publicUrl: TWILIO_PUBLIC_URL },
    ),
  signatureHeader: 'x-twilio-signature',
  sign: (rawBody, authToken) => twilioWebhook(rawBody, { authToken }),
  messageIds: [twilioSid(100), twilioSid(101, 'MM')],
  messageBody: ({ id, text = 'hello' }) => encodeTwilioForm(twilioMessage({ MessageSid: id, Body: text })),
  statusBody: ({ id, status }) => encodeTwilioForm(twilioStatus(status, { MessageSid: id })),
  otherBody: () =>
    encodeTwilioForm({ EventType: 'onConversationAdded', ConversationSid: `CH${'0'.repeat(32)}` }),
  bodiesWith: (value) => [...hostileForms(value)].map(encodeTwilioForm),
  anyBody: anyForm.map((form) => Buffer.from(new URLSearchParams(form).toString())),
  startApi: async (options) => {
    const server = await startFakeTwilio(options)
    const env = {
      TWILIO_ACCOUNT_SID: TWILIO_SENDING_ACCOUNT,
      TWILIO_AUTH_TOKEN,
      TWILIO_API_URL: server.url,
      PUBLIC_URL: TWILIO_PUBLIC_URL,
    }
    return { server, env, credential: TWILIO_AUTH_TOKEN }
  },
  businessNumber: '15550001234',
  refusal: { status: 400, body: { code: 21211, message: 'refused', status: 400 } },
}

function* hostileForms(value: string): Generator<TwilioForm> {
  const isLong = value.length > 1_000_000
  for (const name of isLong ? LONG_FIELDS : FIELDS) {
    yield twilioMessage({ [name]: value })
    if (!isLong) yield twilioStatus('sent', { [name]: [value, value] })
  }
  if (!isLong) yield { [value]: value, ...twilioMessage() }
}
