/** Meta's Cloud API. */
import { randomBytes } from 'node:crypto'
import { baseUrl, digits, format, secrets, text } from '../../variables/value-formats.ts'
import { optional, withDefault } from '../../variables/variable.ts'
import { defineProvider } from '../definition.ts'
import { HANDOVER_FIELD } from './handover-number.ts'
import { metaHandshake } from './handshake.ts'
import { META_MESSAGE_IDS } from './message-id.ts'
import { normalizeMeta } from './normalize.ts'
import { parseMetaWebhook } from './parse.ts'
import { reparseMeta } from './reparse.ts'
import { createMetaSender } from './send.ts'
import { isSignedByMeta } from './signature.ts'

/** Graph API without a version means the oldest one that still answers, so the version is part of the address. */
const graphUrl = baseUrl.pipe(
  format('an address that ends in the version, such as https://graph.facebook.com/v26.0', (value) =>
    /\/v\d+\.\d+$/.test(value) ? value : undefined,
  ),
)

const variables = {
  META_APP_SECRET: optional(secrets, {
    meaning: 'App secret that signs webhooks; several, comma-separated, while rotating or for several apps.',
    isSecret: true,
    // Meta's own have 32 hexadecimal digits.
    strength: {
      minLength: 16,
      isList: true,
      nextStep: 'copy it from the app dashboard > App settings > Basic > App secret',
    },
    generate: () => randomBytes(16).toString('hex'),
  }),
  META_VERIFY_TOKEN: optional(text, {
    meaning: "Token of the verification handshake, as entered in Meta's dashboard.",
    isSecret: true,
    // It only opens the handshake, which gives nothing away.
    strength: { minLength: 8, nextStep: 'make one with: openssl rand -hex 24' },
    generate: () => randomBytes(18).toString('base64url'),
  }),
  META_ACCESS_TOKEN: optional(text, {
    meaning: 'Token for sending through Meta, files included.',
    isSecret: true,
    without: 'no sending through Meta',
  }),
  META_PHONE_NUMBER_ID: optional(digits, {
    meaning: 'Default sender; a reply goes out from the number of its conversation.',
  }),
  META_GRAPH_URL: withDefault(graphUrl, 'https://graph.facebook.com/v26.0', {
    meaning: 'Graph API, with the version.',
    receivesCredentials: true,
  }),
}

export const meta = defineProvider({
  name: 'meta',
  label: 'Meta',
  variables,
  pairs: [['META_PHONE_NUMBER_ID', 'META_ACCESS_TOKEN']],
  signingSecret: 'META_APP_SECRET',
  usedWith: ['META_APP_SECRET', 'META_VERIFY_TOKEN', 'META_ACCESS_TOKEN'],
  needed: [
    ['META_APP_SECRET', "so Meta's webhooks need a signature"],
    ['META_VERIFY_TOKEN', 'and Meta verifies the address with it'],
  ],
  sendingCredentials: ['META_ACCESS_TOKEN'],
  defaultNumberVariable: 'META_PHONE_NUMBER_ID',
  // Meta reads the status alone.
  acknowledgement: { headers: {} },
  messageIds: META_MESSAGE_IDS,
  hasReadReceipts: true,
  uploads: { isFetched: false },
  normalize: normalizeMeta,
  reparse: reparseMeta,
  keptFields: ['standby', HANDOVER_FIELD],
  configure: ({
    META_APP_SECRET,
    META_VERIFY_TOKEN,
    META_ACCESS_TOKEN,
    META_PHONE_NUMBER_ID,
    META_GRAPH_URL,
  }) => ({
    isAuthentic: ({ rawBody, headers }) =>
      isSignedByMeta(rawBody, headers['x-hub-signature-256'], META_APP_SECRET ?? []),
    parse: ({ rawBody, received_at }) => parseMetaWebhook(rawBody, received_at),
    handshake: metaHandshake(META_VERIFY_TOKEN),
    defaultNumber: META_PHONE_NUMBER_ID,
    createSender: () =>
      META_ACCESS_TOKEN === undefined
        ? undefined
        : createMetaSender({ accessToken: META_ACCESS_TOKEN, graphUrl: META_GRAPH_URL }),
  }),
})
