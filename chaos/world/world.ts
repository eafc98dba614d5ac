/**
 * The world of a scenario: stores of its own, relays in front of them, and the service as real processes. All of them end
 * with this process, or when the given stack releases them.
 */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import type { ReleaseStack } from '../../src/lifecycle/release-stack.ts'
import { openTcpRelay, type TcpRelay } from '../../test/support/tcp-relay.ts'
import { takePort } from './ports.ts'
import { type PostgresStore, startPostgresStore } from './postgres-store.ts'
import { type ProviderApi, startProviderApi } from './provider-api.ts'
import { type RedisStore, startRedisStore } from './redis-store.ts'
import { type ServiceProcess, startServiceProcess } from './service-process.ts'

export const BACKENDS = ['redis', 'postgres'] as const
/** The store of the queue. */
export type Backend = (typeof BACKENDS)[number]

export type World = {
  backend: Backend
  /** Empty, and gone at the end. PostgreSQL's user may enter it. */
  directory: string
  postgres: PostgresStore
  /** Between the service and PostgreSQL. */
  postgresRelay: TcpRelay
  redis: RedisStore | undefined
  redisRelay: TcpRelay | undefined
  /** What messages are sent through, with `sends`. */
  providers: { meta: ProviderApi; twilio: ProviderApi } | undefined
  apis: ServiceProcess[]
  workers: ServiceProcess[]
  /** Base URLs, in the order of `apis`. */
  urls: string[]
  /** The environment of a process of the service. */
  env: Record<string, string | undefined>
}

export type WorldOptions = {
  apis?: number
  workers?: number
  redisArgs?: readonly string[]
  postgresSettings?: Readonly<Record<string, string>>
  /** Variables of the service. */
  env?: Readonly<Record<string, string>>
  /** Lets the service send messages, through provider APIs of its own. */
  sends?: boolean
  /** Options of Node for the processes of the service. */
  nodeArgs?: readonly string[]
  /** Where the stores have their files, if not in the scenario's directory. */
  placeStores?: (directory: string, releases: ReleaseStack) => Promise<{ redis?: string; postgres?: string }>
}

export const APP_SECRET = 'chaos-app-secret'
export const ADMIN_PASSWORD = 'chaos-admin-password'
export const API_TOKEN = 'chaos-api-token'
export const METRICS_TOKEN = 'chaos-metrics-token'

export type WorldPlace = {
  backend: Backend
  directory: string
  /** See postgres-template.ts. */
  postgresTemplate: string
  releases: ReleaseStack
}

export async function createWorld(place: WorldPlace, options: WorldOptions = {}): Promise<World> {
  const { backend, directory, postgresTemplate, releases } = place
  const places = (await options.placeStores?.(directory, releases)) ?? {}
  const postgres = await startPostgresStore({
    directory: places.postgres ?? directory,
    template: postgresTemplate,
    ...(options.postgresSettings === undefined ? {} : { settings: options.postgresSettings }),
  })
  releases.add('postgresql', () => postgres.close())
  const redis = backend === 'redis' ? await startRedis(directory, places.redis, releases, options) : undefined
  const postgresRelay = await openTcpRelay(postgres.url, await takePort())
  releases.add('relay to postgresql', () => postgresRelay.close())
  const redisRelay = redis && (await openTcpRelay(redis.url, await takePort()))
  if (redisRelay) releases.add('relay to redis', () => redisRelay.close())

  const providers = options.sends === true ? await startProviders(releases) : undefined
  const env = {
    DATA_DIR: path.join(directory, 'service'),
    DATABASE_URL: postgresRelay.url,
    REDIS_URL: redisRelay?.url,
    META_APP_SECRET: APP_SECRET,
    META_VERIFY_TOKEN: 'chaos-verify-token',
    ADMIN_PASSWORD,
    METRICS_TOKEN,
    ...(providers && sendingVariables(providers)),
    ...options.env,
  }
  const world: World = {
    ...{ backend, directory, postgres, postgresRelay, redis, redisRelay, providers, env },
    ...{ apis: [], workers: [], urls: [] },
  }
  const start = (name: string, args: string[], env: World['env']) => {
    const service = startServiceProcess({ name, args, env, nodeArgs: options.nodeArgs ?? [] })
    releases.add(name, () => service.close())
    return service
  }
  for (let number = 1; number <= (options.apis ?? 1); number++) {
    const port = await takePort()
    world.apis.push(start(`api-${number}`, ['api'], { ...env, PORT: String(port) }))
    world.urls.push(`http://127.0.0.1:${port}`)
  }
  for (let number = 1; number <= (options.workers ?? 1); number++) {
    world.workers.push(start(`worker-${number}`, ['worker'], env))
  }
  await Promise.all([...world.apis, ...world.workers].map((service) => service.untilReady()))
  return world
}

export function servicesOf(world: World): ServiceProcess[] {
  return [...world.apis, ...world.workers]
}

async function startProviders(releases: ReleaseStack): Promise<NonNullable<World['providers']>> {
  const [meta, twilio] = await Promise.all([startProviderApi(), startProviderApi()])
  releases.add('provider APIs', () => Promise.all([meta.close(), twilio.close()]))
  return { meta, twilio }
}

function sendingVariables({ meta, twilio }: NonNullable<World['providers']>): Record<string, string> {
  return {
    API_TOKENS: API_TOKEN,
    META_ACCESS_TOKEN: 'chaos-access-token',
    META_PHONE_NUMBER_ID: '106540352240001',
    META_GRAPH_URL: `${meta.url}/v26.0`,
    TWILIO_ACCOUNT_SID: `AC${'c'.repeat(32)}`,
    TWILIO_AUTH_TOKEN: 'chaos-auth-token',
    TWILIO_FROM: '+15550001234',
    TWILIO_API_URL: twilio.url,
  }
}

async function startRedis(
  directory: string,
  place: string | undefined,
  releases: ReleaseStack,
  { redisArgs = [] }: WorldOptions,
): Promise<RedisStore> {
  const files = place ?? path.join(directory, 'redis')
  mkdirSync(files, { recursive: true })
  const redis = await startRedisStore({ directory: files, args: redisArgs })
  releases.add('redis', () => redis.close())
  return redis
}
