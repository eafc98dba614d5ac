/** Twilio's Programmable Messaging. */
import { randomBytes } from 'node:crypto'
import { baseUrl, format, secrets, wholeNumber } from '../../variables/value-formats.ts'
import { optional, withDefault } from '../../variables/variable.ts'
import { defineProvider } from '../definition.ts'
import { readBusinessNumber } from './address.ts'
import { OTHER_CHANNEL_PATH } from './event-kind.ts'
import { isMediaLink } from './media-link.ts'
import { TWILIO_MESSAGE_IDS } from './message-sid.ts'
import { normalizeTwilio } from './normalize.ts'
import { parseTwilioWebhook, reparseTwilio } from './parse.ts'
import { createTwilioSender } from './send.ts'
import { isMessagingService } from './send-address.ts'
import { isSignedByTwilio } from './signature.ts'

const accountSid = format('AC and 32 hexadecimal digits', (value) =>
  /^AC[0-9a-fA-F]{32}$/.test(value) ? value : undefined,
)

/** `whatsapp:+15550001234` in any of its spellings, or the SID of a messaging service. */
const senderAddress = format(
  'a number such as whatsapp:+15550001234, or a messaging service (MG…)',
  (value) => {
    if (isMessagingService(value)) return value
    const digits = /^(?:whatsapp:)?\+?(\d{6,15})$/i.exec(value.replace(/[\s().-]/g, ''))?.[1]
    return digits === undefined ? undefined : `whatsapp:+${digits}`
  },
)

const variables = {
  TWILIO_ACCOUNT_SID: optional(accountSid, {
    meaning: 'Account for sending through Twilio and for the back-fill.',
    without: 'no sending through Twilio',
  }),
  TWILIO_AUTH_TOKEN: optional(secrets, {
    meaning: 'Auth token that signs webhooks; several, comma-separated. Sending uses the first.',
    isSecret: true,
    // Twilio's own have 32 hexadecimal digits.
    strength: {
      minLength: 16,
      isList: true,
      nextStep: "copy it from Twilio's console > Account > API keys & tokens",
    },
    generate: () => randomBytes(16).toString('hex'),
  }),
  TWILIO_FROM: optional(senderAddress, {
    meaning: 'Default sender, such as `whatsapp:+15550001234` or a messaging service (`MG…`).',
  }),
  TWILIO_API_URL: withDefault(baseUrl, 'https://api.twilio.com', {
    meaning: "Twilio's REST API.",
    receivesCredentials: true,
  }),
  TWILIO_BACKFILL_MINUTES: withDefault(wholeNumber(0, 1_440), '15', {
    unit: 'minutes',
    meaning:
      "How often one of the workers fetches messages whose webhooks never came from Twilio's list; 0: never. Needs `TWILIO_ACCOUNT_SID`.",
  }),
}

export const twilio = defineProvider({
  name: 'twilio',
  label: 'Twilio',
  variables,
  pairs: [
    ['TWILIO_FROM', 'TWILIO_ACCOUNT_SID'],
    ['TWILIO_ACCOUNT_SID', 'TWILIO_AUTH_TOKEN'],
  ],
  signingSecret: 'TWILIO_AUTH_TOKEN',
  usedWith: ['TWILIO_AUTH_TOKEN'],
  needed: [['PUBLIC_URL', 'and Twilio signs the address that it calls']],
  sendingCredentials: ['TWILIO_ACCOUNT_SID', 'TWILIO_AUTH_TOKEN'],
  defaultNumberVariable: 'TWILIO_FROM',
  // Twilio wants TwiML, and an empty one sends no reply (Twilio, "TwiML for messaging").
  acknowledgement: {
    headers: {
      'Content-Type': 'text/xml; charset=utf-8',
      'Content-Length': '11',
      'X-Content-Type-Options': 'nosniff',
    },
    body: '<Response/>',
  },
  messageIds: TWILIO_MESSAGE_IDS,
  hasReadReceipts: false,
  history: { credentialsHint: 'both are under Account > API keys & tokens in the Twilio console' },
  // https://www.twilio.com/docs/whatsapp/guidance-whatsapp-media-messages
  // https://www.twilio.com/docs/api/errors/21617
  maxTextLength: 1_600,
  uploads: { isFetched: true, maxBytes: 16 * 1024 * 1024 },
  otherChannelPath: OTHER_CHANNEL_PATH,
  choosesNumber: isMessagingService,
  normalize: normalizeTwilio,
  reparse: reparseTwilio,
  configure: (values, { publicUrl, trustProxy }) => {
    const { TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN: authTokens = [], TWILIO_FROM, TWILIO_API_URL } = values
    const [authToken] = authTokens
    return {
      isAuthentic: (webhook) => isSignedByTwilio(webhook, { authTokens, publicUrl, trustProxy }),
      parse: parseTwilioWebhook,
      isUploadLink: (link) => isMediaLink(link, authTokens),
      defaultNumber: TWILIO_FROM === undefined ? undefined : readBusinessNumber(TWILIO_FROM),
      createSender: () =>
        TWILIO_ACCOUNT_SID === undefined || authToken === undefined
          ? undefined
          : createTwilioSender({
              accountSid: TWILIO_ACCOUNT_SID,
              authToken,
              apiUrl: TWILIO_API_URL,
              publicUrl,
            }),
      backfillMinutes: values.TWILIO_BACKFILL_MINUTES,
    }
  },
})
