import fc from 'fast-check'
import { configureProvider } from '../../../src/providers/definition.ts'
import { pigeon } from '../../support/pigeon/definition.ts'
import {
  flightBody,
  letterBody,
  letterId,
  PIGEON_TOKEN,
  pigeonHeaders,
  startFakePigeon,
} from '../../support/pigeon/fake-pigeon.ts'
import type { ProviderUnderTest } from '../provider.contract.ts'

const ID = letterId()
const NOT_SET = {
  PIGEON_TOKEN: undefined,
  PIGEON_LOFT: undefined,
  PIGEON_API_URL: 'https://pigeons.example.com',
}

const LETTER_FIELDS = ['id', 'from', 'to', 'text', 'more']
const FLIGHT_FIELDS = ['id', 'state', 'from', 'ref', 'more']

/** The invented provider keeps the same promises as the real ones. */
export const pigeonUnderTest: ProviderUnderTest = {
  definition: pigeon,
  createProvider: (known) => configureProvider(pigeon, { ...NOT_SET, PIGEON_SECRET: [...known] }, {}),
  signatureHeader: 'x-pigeon-signature',
  sign: (rawBody, secret) => ({
    rawBody,
    headers: pigeonHeaders(rawBody, secret),
    url: '/webhooks/pigeon',
    received_at: 1_763_700_000_000,
  }),
  messageIds: [ID, letterId()],
  messageBody: (letter) => Buffer.from(letterBody(letter)),
  statusBody: ({ id, status }) => Buffer.from(flightBody({ id, state: status })),
  otherBody: () => Buffer.from('{"weather":"fair"}'),
  bodiesWith: (value) => [
    ...LETTER_FIELDS.map((field) => Buffer.from(JSON.stringify({ letter: { id: ID, [field]: value } }))),
    ...FLIGHT_FIELDS.map((field) =>
      Buffer.from(JSON.stringify({ flight: { id: ID, state: 'sent', [field]: value } })),
    ),
  ],
  anyBody: fc.json().map((json) => Buffer.from(`{"letter":${json},"flight":${json}}`)),
  startApi: async () => {
    const server = await startFakePigeon()
    return { server, env: { PIGEON_TOKEN, PIGEON_API_URL: server.url }, credential: PIGEON_TOKEN }
  },
  businessNumber: '15550001234',
  refusal: { status: 400, body: { message: 'refused' } },
}
