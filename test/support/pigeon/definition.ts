/**
 * Pigeon Post: a provider that nobody has. It shows what a provider takes: this folder, and a line in the list that
 * `loadConfig` is given (the registry, src/providers/index.ts, for a real one).
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { defineProvider } from '../../../src/providers/definition.ts'
import { baseUrl, secrets, text } from '../../../src/variables/value-formats.ts'
import { optional, withDefault } from '../../../src/variables/variable.ts'
import { PIGEON_MESSAGE_IDS } from './letter-id.ts'
import { normalizePigeon, parsePigeon, reparsePigeon } from './parse.ts'
import { createPigeonSender } from './send.ts'

const variables = {
  PIGEON_SECRET: optional(secrets, {
    meaning: 'Signs webhooks.',
    isSecret: true,
    strength: { minLength: 16, isList: true, nextStep: 'ask the dovecote for a longer one' },
    generate: () => randomBytes(16).toString('hex'),
  }),
  PIGEON_TOKEN: optional(text, { meaning: 'For sending.', isSecret: true }),
  PIGEON_LOFT: optional(text, { meaning: 'Default sender: a number, or a loft (`LOFT…`).' }),
  PIGEON_API_URL: withDefault(baseUrl, 'https://pigeons.example.com', {
    meaning: 'The API.',
    receivesCredentials: true,
  }),
}

export const pigeon = defineProvider({
  name: 'pigeon',
  label: 'Pigeon Post',
  variables,
  pairs: [['PIGEON_LOFT', 'PIGEON_TOKEN']],
  signingSecret: 'PIGEON_SECRET',
  usedWith: ['PIGEON_SECRET'],
  needed: [],
  sendingCredentials: ['PIGEON_TOKEN'],
  defaultNumberVariable: 'PIGEON_LOFT',
  acknowledgement: { headers: { 'Content-Type': 'text/plain', 'Content-Length': '3' }, body: 'coo' },
  messageIds: PIGEON_MESSAGE_IDS,
  hasReadReceipts: true,
  uploads: { isFetched: false, maxBytes: 1024 },
  choosesNumber: (businessNumber) => businessNumber.startsWith('LOFT'),
  normalize: normalizePigeon,
  reparse: reparsePigeon,
  configure: ({ PIGEON_SECRET = [], PIGEON_TOKEN, PIGEON_LOFT, PIGEON_API_URL }) => ({
    isAuthentic: ({ rawBody, headers }) => isSigned(rawBody, headers['x-pigeon-signature'], PIGEON_SECRET),
    parse: ({ rawBody, received_at }) => parsePigeon(rawBody, received_at),
    handshake: {
      answer: ({ nest }) => (nest === 'ready?' && PIGEON_SECRET.length > 0 ? 'ready' : undefined),
      refusal: 'No pigeon asks like this.',
    },
    defaultNumber: PIGEON_LOFT,
    createSender: () =>
      PIGEON_TOKEN === undefined
        ? undefined
        : createPigeonSender({ token: PIGEON_TOKEN, apiUrl: PIGEON_API_URL }),
  }),
})

function isSigned(
  rawBody: Buffer,
  signature: string | string[] | undefined,
  knownSecrets: readonly string[],
): boolean {
  const received = Buffer.from(typeof signature === 'string' ? signature : '')
  return knownSecrets.some((secret) => {
    const expected = Buffer.from(createHmac('sha256', secret).update(rawBody).digest('hex'))
    return secret !== '' && received.length === expected.length && timingSafeEqual(received, expected)
  })
}
