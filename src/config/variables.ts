/**
 * Every environment variable: the service's own and those of the providers, with form, default and meaning, in one table.
 * The configuration page and the checks of docker-compose.yml and .env.example are made from it.
 */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { PROVIDERS } from '../providers/index.ts'
import type { ProviderDefinition } from '../providers/provider.ts'
import {
  baseUrl,
  bearerToken,
  bearerTokens,
  boolean,
  host,
  hostsAndPorts,
  oneOf,
  port,
  text,
  trustProxy,
  url,
  userName,
  wholeNumber,
} from '../variables/value-formats.ts'
import { notesOf, optional, type ValuesOf, type VariableShape, withDefault } from '../variables/variable.ts'

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

export type VariableDescription = {
  name: string
  /** As the configuration page shows it; absent: there is none. */
  default?: string
  unit?: string
  meaning: string
  /** Never printed, not even in an error message. */
  isSecret: boolean
}

const POSTGRES_URL = url(['postgres:', 'postgresql:'], 'postgres://user:password@host:5432/database')
const REDIS_URL = url(['redis:', 'rediss:'], 'redis://user:password@host:6379/0')
const RANDOM_SECRET = 'make one with: openssl rand -hex 24'

/** In front of those of the providers. */
const firstVariables = {
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
}

/** Behind those of the providers. */
const lastVariables = {
  ADMIN_USER: withDefault(userName, 'admin', { meaning: 'User of the dashboard and of Bull Board.' }),
  ADMIN_PASSWORD: optional(text, {
    meaning: 'Password of the dashboard and of Bull Board: at least 12 characters, none of the common ones.',
    isSecret: true,
    strength: { minLength: 12, nextStep: RANDOM_SECRET },
    generate: () => randomBytes(15).toString('base64url'),
  }),
  API_TOKENS: optional(bearerTokens, {
    meaning: 'Bearer tokens for `/api`, comma-separated.',
    isSecret: true,
    strength: { minLength: 16, isList: true, nextStep: RANDOM_SECRET },
    without: 'only the admin',
  }),
  METRICS_TOKEN: optional(bearerToken, {
    meaning: 'Bearer token for `/metrics`.',
    isSecret: true,
    strength: { minLength: 16, nextStep: RANDOM_SECRET },
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
}

type OwnVariables = typeof firstVariables & typeof lastVariables

/** The service's own variables with their types, and those of the providers. */
export type VariableValues = ValuesOf<OwnVariables> & Readonly<Record<string, unknown>>

/** Variables that are set, trimmed. */
export type SetVariables = Partial<Record<keyof OwnVariables, string>> &
  Readonly<Record<string, string | undefined>>

/** Every variable by its name, in the order of the table. */
export function variablesWith(providers: readonly ProviderDefinition[]): VariableShape {
  return Object.assign({}, firstVariables, ...providers.map(({ variables }) => variables), lastVariables)
}

/** Reads the values; otherwise returns what is wrong with each variable. */
export function parseVariables(
  shape: VariableShape,
  set: SetVariables,
): z.ZodSafeParseResult<VariableValues> {
  return z.object(shape).safeParse(set) as z.ZodSafeParseResult<VariableValues>
}

/** Every variable, in the order of the table. */
export function describeVariables(
  providers: readonly ProviderDefinition[] = PROVIDERS,
): VariableDescription[] {
  return Object.entries(variablesWith(providers)).map(([name, variable]) => {
    const { meaning, unit, isSecret = false, default: value, without } = notesOf(name, variable)
    const shownDefault = value ?? without
    return {
      name,
      meaning,
      isSecret,
      ...(shownDefault === undefined ? {} : { default: shownDefault }),
      ...(unit === undefined ? {} : { unit }),
    }
  })
}
