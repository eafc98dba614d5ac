/**
 * Every environment variable of the service: its form, default and meaning, in one table. The configuration page and the
 * checks of docker-compose.yml and .env.example are made from it.
 */
import { z } from 'zod'
import {
  baseUrl,
  bearerToken,
  bearerTokens,
  boolean,
  digits,
  graphUrl,
  host,
  hostsAndPorts,
  oneOf,
  port,
  secrets,
  text,
  trustProxy,
  twilioAccountSid,
  twilioSender,
  url,
  userName,
  wholeNumber,
} from './value-formats.ts'

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

export type VariableDescription = {
  name: string
  /** Shown as is; absent: there is none. */
  default?: string
  unit?: string
  meaning: string
  /** Never printed, not even in an error message. */
  isSecret: boolean
}

type Notes = {
  unit?: string
  meaning: string
  isSecret?: true /** What happens without a value. */
  without?: string
}

const notes = z.registry<Notes & { default?: string }>()

function optional<T>(format: z.ZodType<T, string>, about: Notes) {
  return format.optional().register(notes, about)
}

function withDefault<T>(format: z.ZodType<T, string>, value: string, about: Notes) {
  return format.prefault(value).register(notes, { ...about, default: value })
}

const POSTGRES_URL = url(['postgres:', 'postgresql:'], 'postgres://user:password@host:5432/database')
const REDIS_URL = url(['redis:', 'rediss:'], 'redis://user:password@host:6379/0')
const GENERATED = 'generated'

export const variables = z.object({
  NODE_ENV: optional(text, {
    meaning:
      '`production`: a missing or weak secret stops the start; where `HOST`, `PUBLIC_URL` or `TRUST_PROXY` say that others can reach the service, too. Otherwise missing secrets are generated and kept in `DATA_DIR`.',
  }),
  PORT: withDefault(port, '3000', { meaning: 'Port of the HTTP server; 0: any free one.' }),
  HOST: withDefault(host, '127.0.0.1', { meaning: 'Address to listen on; 0.0.0.0: all.' }),
  ADMIN_PORT: optional(port, {
    meaning:
      'Own port for the admin, the API and the dashboard. On `PORT` stay the webhooks, links to uploads, `/health/live`, yes or no of `/health/ready`, and `/metrics` for `METRICS_TOKEN`; no password counts there.',
    without: 'same as PORT',
  }),
  TRUST_PROXY: optional(trustProxy, {
    meaning:
      "Whose `X-Forwarded-*` headers are believed: the number of proxies in front, or their addresses (Express's `trust proxy`); `false` or 0: nobody's.",
    without: 'nobody',
  }),
  PUBLIC_URL: optional(baseUrl, {
    meaning: 'Address under which the providers reach this service; Twilio signs it. Needed with Twilio.',
  }),
  DATABASE_URL: optional(POSTGRES_URL, {
    meaning: 'PostgreSQL 13 or later.',
    isSecret: true,
    without: 'embedded PostgreSQL in DATA_DIR',
  }),
  DATABASE_DIRECT_URL: optional(POSTGRES_URL, {
    meaning:
      'The same database past a pooler: for migrations, the commands, and the queue where it is in PostgreSQL.',
    isSecret: true,
    without: 'DATABASE_URL',
  }),
  REDIS_URL: optional(REDIS_URL, {
    meaning:
      'Redis or Valkey for the queue. Beside `REDIS_CLUSTER_NODES` or `REDIS_SENTINELS` only its user, password, database and TLS count.',
    isSecret: true,
    without: 'queue in PostgreSQL',
  }),
  REDIS_CLUSTER_NODES: optional(hostsAndPorts(6379), {
    meaning: 'Some nodes of a Redis Cluster, as host:port, comma-separated.',
  }),
  REDIS_SENTINELS: optional(hostsAndPorts(26_379), {
    meaning: 'Redis Sentinels, as host:port, comma-separated. Needs `REDIS_SENTINEL_NAME`.',
  }),
  REDIS_SENTINEL_NAME: optional(text, { meaning: 'Name of the primary that the Sentinels watch.' }),
  REDIS_WAIT_REPLICAS: withDefault(wholeNumber(0, 10), '0', {
    unit: 'replicas',
    meaning:
      'How many replicas must confirm a webhook before it is acknowledged (`WAIT`, 600 ms); otherwise it goes straight to PostgreSQL. Not with `REDIS_CLUSTER_NODES`.',
  }),
  DATA_DIR: withDefault(text, '.data', {
    meaning: 'Folder of the embedded PostgreSQL and of generated secrets.',
  }),
  META_APP_SECRET: optional(secrets, {
    meaning: 'App secret that signs webhooks; several, comma-separated, while rotating or for several apps.',
    isSecret: true,
    without: GENERATED,
  }),
  META_VERIFY_TOKEN: optional(text, {
    meaning: "Token of the verification handshake, as entered in Meta's dashboard.",
    isSecret: true,
    without: GENERATED,
  }),
  META_ACCESS_TOKEN: optional(text, {
    meaning: 'Token for sending through Meta, files included.',
    isSecret: true,
    without: 'no sending through Meta',
  }),
  META_PHONE_NUMBER_ID: optional(digits, {
    meaning: 'Default sender; a reply goes out from the number of its conversation.',
  }),
  META_GRAPH_URL: withDefault(graphUrl, 'https://graph.facebook.com/v25.0', {
    meaning: 'Graph API, with the version.',
  }),
  TWILIO_ACCOUNT_SID: optional(twilioAccountSid, {
    meaning: 'Account for sending through Twilio and for the back-fill.',
    without: 'no sending through Twilio',
  }),
  TWILIO_AUTH_TOKEN: optional(secrets, {
    meaning: 'Auth token that signs webhooks; several, comma-separated. Sending uses the first.',
    isSecret: true,
    without: GENERATED,
  }),
  TWILIO_FROM: optional(twilioSender, {
    meaning: 'Default sender, such as `whatsapp:+15550001234` or a messaging service (`MG…`).',
  }),
  TWILIO_API_URL: withDefault(baseUrl, 'https://api.twilio.com', { meaning: "Twilio's REST API." }),
  TWILIO_BACKFILL_MINUTES: withDefault(wholeNumber(0, 1_440), '15', {
    unit: 'minutes',
    meaning:
      "How often one of the workers fetches messages whose webhooks never came from Twilio's list; 0: never. Needs `TWILIO_ACCOUNT_SID`.",
  }),
  ADMIN_USER: withDefault(userName, 'admin', { meaning: 'User of the dashboard and of Bull Board.' }),
  ADMIN_PASSWORD: optional(text, {
    meaning: 'Password of the dashboard and of Bull Board: at least 12 characters, none of the common ones.',
    isSecret: true,
    without: GENERATED,
  }),
  API_TOKENS: optional(bearerTokens, {
    meaning: 'Bearer tokens for `/api`, comma-separated.',
    isSecret: true,
    without: 'only the admin',
  }),
  METRICS_TOKEN: optional(bearerToken, {
    meaning: 'Bearer token for `/metrics`.',
    isSecret: true,
    without: 'only the admin',
  }),
  BULL_BOARD_WRITE: withDefault(boolean, 'false', {
    meaning:
      'Lets the admin pause queues, retry and promote jobs, and delay or remove single ones in Bull Board; nothing can be added.',
  }),
  LOG_LEVEL: withDefault(oneOf(LOG_LEVELS), 'info', { meaning: `One of ${LOG_LEVELS.join(', ')}.` }),
  WORKER_CONCURRENCY: withDefault(wholeNumber(1, 10_000), '512', {
    unit: 'jobs',
    meaning: 'Events that one worker process handles at a time; they are written in shared batches.',
  }),
  MEDIA_DIR: optional(text, {
    meaning:
      'Folder of uploaded files. Every api and worker process has to see the same one, and no other installation.',
    without: 'media in DATA_DIR',
  }),
})

export type VariableName = keyof typeof variables.shape
export type VariableValues = z.output<typeof variables>

/** Every variable, in the order of the table. */
export function describeVariables(): VariableDescription[] {
  return Object.entries(variables.shape).map(([name, schema]) => {
    const about = notes.get(schema)
    if (about === undefined)
      throw new Error(`${name} has no description: register it in src/config/variables.ts`)
    const shownDefault = about.default ?? about.without
    return {
      name,
      meaning: about.meaning,
      isSecret: about.isSecret ?? false,
      ...(shownDefault === undefined ? {} : { default: shownDefault }),
      ...(about.unit === undefined ? {} : { unit: about.unit }),
    }
  })
}
