/** The checked options of `wa-ingest simulate`, completed from the configuration of the service. */
import { randomBytes, randomInt } from 'node:crypto'
import type { Config } from '../../config/config-groups.ts'
import { loadConfig } from '../../config/load-config.ts'
import { findEmbeddedPostgresUrl } from '../../local/embedded-postgres.ts'
import { valuesOf } from '../../providers/definition.ts'
import { meta } from '../../providers/meta/definition.ts'
import { type CommandContext, numberOption, type OptionValues, textOption, UsageError } from '../command.ts'
import { MAX_PEOPLE } from './people.ts'
import { MAX_EVENTS } from './plan.ts'
import type { TrafficSettings } from './traffic.ts'

export type SimulationSettings = {
  traffic: TrafficSettings
  /** Of the route for webhooks. */
  url: URL
  appSecret: string
  databaseUrl: string
  rate?: number | undefined
  concurrency: number
  timeoutMs: number
}

export const DEFAULTS = {
  messages: 1_000,
  redeliveries: 0.3,
  mix: 'text=80,image=20,statuses=30',
  concurrency: 64,
  timeoutSeconds: 60,
} as const

/** Meta puts no more into one webhook (Meta, create-webhook-endpoint). */
const MAX_BATCH = 1_000
const MAX_CONCURRENCY = 1_000
const WEBHOOK_PATH = '/webhooks/meta'

/**
 * @throws UsageError for an option that makes no sense; ConfigError for the environment; Error where the secret or the
 * database of the service cannot be found.
 */
export function readSettings({ values, env }: Pick<CommandContext, 'values' | 'env'>): SimulationSettings {
  const traffic = readTraffic(values)
  const url = textOption(values, 'url')
  const givenUrl = url === undefined ? undefined : parseUrl(url)
  const secret = textOption(values, 'secret')
  const databaseUrl = textOption(values, 'database-url')
  const rate = numberOption(values, 'rate', { min: 0.01 })
  const concurrency =
    numberOption(values, 'concurrency', { min: 1, max: MAX_CONCURRENCY, integer: true }) ??
    DEFAULTS.concurrency
  const timeoutSeconds = numberOption(values, 'timeout', { min: 1 }) ?? DEFAULTS.timeoutSeconds

  const config = loadConfig(env, { needsSecrets: false })
  return {
    traffic,
    url: givenUrl ?? urlOfService(config.http),
    databaseUrl: databaseUrl ?? config.database.url ?? embeddedDatabaseUrl(config.dataDir),
    // The database first: where no service runs, no secrets should be made for it.
    appSecret: secret ?? appSecretOf(config) ?? secretOfService(env),
    rate,
    concurrency,
    timeoutMs: timeoutSeconds * 1_000,
  }
}

function readTraffic(values: OptionValues): TrafficSettings {
  const messages =
    numberOption(values, 'messages', { min: 1, max: MAX_EVENTS, integer: true }) ?? DEFAULTS.messages
  const mix = parseMix(textOption(values, 'mix') ?? DEFAULTS.mix)
  const statuses = Math.round((messages * mix.statuses) / (mix.text + mix.image))
  if (messages + statuses > MAX_EVENTS) {
    throw new UsageError(`--messages and the statuses of --mix come to more than ${MAX_EVENTS} in one run`)
  }
  const people = numberOption(values, 'conversations', { min: 1, max: MAX_PEOPLE, integer: true })
  return {
    messages,
    statuses,
    imageShare: mix.image / (mix.text + mix.image),
    batch: numberOption(values, 'batch', { min: 1, max: MAX_BATCH, integer: true }),
    redeliveries: numberOption(values, 'redeliveries', { max: 10 }) ?? DEFAULTS.redeliveries,
    conversations: people ?? Math.min(Math.ceil(messages / 10), MAX_PEOPLE),
    seed: numberOption(values, 'seed', { max: 2 ** 32 - 1, integer: true }) ?? randomInt(2 ** 32),
    run: randomBytes(4).toString('hex'),
    startedAt: Date.now(),
  }
}

type Mix = { text: number; image: number; statuses: number }

/** `text=80,image=20,statuses=30`: any numbers, only their proportion counts; what is left out is 0. */
function parseMix(text: string): Mix {
  const mix: Mix = { text: 0, image: 0, statuses: 0 }
  for (const part of text.split(',')) {
    const [name = '', number = ''] = part.split('=').map((word) => word.trim())
    const weight = number === '' ? Number.NaN : Number(number)
    if (!isMixName(name) || !Number.isFinite(weight) || weight < 0) {
      throw new UsageError(`--mix takes ${DEFAULTS.mix} with other numbers, not "${text}"`)
    }
    mix[name] = weight
  }
  if (mix.text + mix.image === 0) throw new UsageError('--mix has no messages: give text or image a number')
  return mix
}

function isMixName(name: string): name is keyof Mix {
  return name === 'text' || name === 'image' || name === 'statuses'
}

/** The address of the service, with or without the route. */
function parseUrl(text: string): URL {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`)
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new UsageError(`--url takes an address like http://127.0.0.1:3000, not "${text}"`)
  }
  if (!url.pathname.endsWith(WEBHOOK_PATH))
    url.pathname = `${url.pathname.replace(/\/+$/, '')}${WEBHOOK_PATH}`
  return url
}

/** A service that listens everywhere is reached through the loopback address. */
function urlOfService({ host, port }: { host: string; port: number }): URL {
  if (port === 0) throw new Error('PORT is 0: give the address of the service with --url')
  const isEverywhere = host === '0.0.0.0' || host === '::'
  const name = isEverywhere ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return new URL(`http://${name}:${port}${WEBHOOK_PATH}`)
}

function secretOfService(env: NodeJS.ProcessEnv): string {
  const secret = appSecretOf(loadConfig(env))
  if (secret === undefined) throw new Error('META_APP_SECRET is not set: give it, or --secret')
  return secret
}

function appSecretOf({ providers }: Config): string | undefined {
  return valuesOf(providers, meta).META_APP_SECRET?.[0]
}

function embeddedDatabaseUrl(dataDir: string): string {
  const url = findEmbeddedPostgresUrl(dataDir)
  if (url !== undefined) return url
  throw new Error(
    `no wa-ingest runs on ${dataDir}: start it with npm start, or give its database with DATABASE_URL or --database-url`,
  )
}
