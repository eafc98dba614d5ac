/** The configuration as the code uses it: values in groups by purpose. */
import { join, resolve } from 'node:path'
import type { Provider } from '../providers/provider.ts'
import type { HostAndPort } from '../variables/value-formats.ts'
import type { LOG_LEVELS, VariableValues } from './variables.ts'

export type LogLevel = (typeof LOG_LEVELS)[number]

export type Config = {
  /** NODE_ENV is `production`. */
  isProduction: boolean
  http: {
    /** 0: any free port. */
    port: number
    host: string
    /** Absent: the admin's routes are on `port`. */
    adminPort?: number | undefined
    /** As Express takes it. */
    trustProxy?: string | number | boolean | undefined
    /** Without a final slash. */
    publicUrl?: string | undefined
  }
  database: {
    /** Absent: embedded PostgreSQL in `dataDir`. */
    url?: string | undefined
    /** Past a pooler; absent: `url`. */
    directUrl?: string | undefined
  }
  /** Absent: the queue is in PostgreSQL. */
  redis?: RedisSettings | undefined
  /** Absolute. */
  dataDir: string
  /** Absolute. */
  mediaDir: string
  /** Uploaded files, apart from everything else in `mediaDir`. */
  uploadFolder: string
  /** Every provider with its variables. Without `needsSecrets` secrets that are not set stay undefined. */
  providers: readonly Provider[]
  admin: {
    user: string
    /** '' only without `needsSecrets`. */
    password: string
  }
  apiTokens: string[]
  metricsToken?: string | undefined
  bullBoardWrite: boolean
  logLevel: LogLevel
  worker: { concurrency: number }
  /** The variables whose secret was generated, and the file it is kept in. */
  generated: { names: string[]; file?: string | undefined }
  /** Lines for the log; none of them stops the start. */
  warnings: string[]
}

export type RedisSettings = {
  /** Beside cluster nodes or sentinels only its user, password, database and TLS count. */
  url?: string | undefined
  /** Not empty: a Redis Cluster. */
  clusterNodes: HostAndPort[]
  /** Not empty: Sentinels, and `sentinelName` is set. */
  sentinels: HostAndPort[]
  sentinelName?: string | undefined
  /** How many replicas must have a webhook before it is acknowledged. */
  waitReplicas: number
}

/** The part of the configuration that depends on the values of the variables alone. */
export function groupValues(values: VariableValues): Omit<Config, 'providers' | 'generated' | 'warnings'> {
  const dataDir = resolve(values.DATA_DIR)
  const mediaDir = values.MEDIA_DIR === undefined ? join(dataDir, 'media') : resolve(values.MEDIA_DIR)
  return {
    isProduction: values.NODE_ENV === 'production',
    http: {
      port: values.PORT,
      host: values.HOST,
      // The same port twice is one port, except 0: two free ones.
      adminPort: values.ADMIN_PORT === values.PORT && values.PORT !== 0 ? undefined : values.ADMIN_PORT,
      trustProxy: values.TRUST_PROXY,
      publicUrl: values.PUBLIC_URL,
    },
    database: { url: values.DATABASE_URL, directUrl: values.DATABASE_DIRECT_URL },
    redis: groupRedis(values),
    dataDir,
    mediaDir,
    uploadFolder: join(mediaDir, 'uploads'),
    admin: { user: values.ADMIN_USER, password: values.ADMIN_PASSWORD ?? '' },
    apiTokens: values.API_TOKENS ?? [],
    metricsToken: values.METRICS_TOKEN,
    bullBoardWrite: values.BULL_BOARD_WRITE,
    logLevel: values.LOG_LEVEL,
    worker: { concurrency: values.WORKER_CONCURRENCY },
  }
}

function groupRedis(values: VariableValues): RedisSettings | undefined {
  const { REDIS_URL, REDIS_CLUSTER_NODES, REDIS_SENTINELS, REDIS_SENTINEL_NAME } = values
  if (REDIS_URL === undefined && REDIS_CLUSTER_NODES === undefined && REDIS_SENTINELS === undefined)
    return undefined
  return {
    url: REDIS_URL,
    clusterNodes: REDIS_CLUSTER_NODES ?? [],
    sentinels: REDIS_SENTINELS ?? [],
    sentinelName: REDIS_SENTINEL_NAME,
    waitReplicas: values.REDIS_WAIT_REPLICAS,
  }
}
