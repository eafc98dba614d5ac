/** Describes the configuration for the log, without secrets. */
import type { z } from 'zod'
import { PROVIDERS } from '../providers/index.ts'
import type { Provider } from '../providers/provider.ts'
import { notesOf } from '../variables/variable.ts'
import type { Config, RedisSettings } from './config-groups.ts'

/** Secrets appear as `…_configured: true`, addresses without user, password and query. */
export function describeConfig(config: Config): Record<string, unknown> {
  return {
    production: config.isProduction,
    host: config.http.host,
    port: config.http.port,
    admin_port: config.http.adminPort ?? config.http.port,
    trust_proxy: config.http.trustProxy ?? false,
    public_url: config.http.publicUrl,
    database: config.database.url === undefined ? 'embedded' : withoutCredentials(config.database.url),
    database_direct:
      config.database.directUrl === undefined ? undefined : withoutCredentials(config.database.directUrl),
    queue: config.redis === undefined ? 'postgresql' : describeRedis(config.redis),
    data_dir: config.dataDir,
    media_dir: config.mediaDir,
    ...Object.assign({}, ...config.providers.map(describeProvider)),
    admin_user: config.admin.user,
    admin_password_configured: config.admin.password !== '',
    api_tokens_configured: config.apiTokens.length > 0,
    metrics_token_configured: config.metricsToken !== undefined,
    bull_board_write: config.bullBoardWrite,
    log_level: config.logLevel,
    worker_concurrency: config.worker.concurrency,
    generated: config.generated.names,
  }
}

/** Fields of `describeConfig` with variables of the providers that are no secrets. */
export function providerTextFields(): string[] {
  return PROVIDERS.flatMap(({ variables }) => Object.entries<z.ZodType>(variables))
    .filter(([name, variable]) => !notesOf(name, variable).isSecret)
    .map(([name]) => name.toLowerCase())
}

/** By the variables' names in lower case. */
function describeProvider({ variables, values }: Provider): Record<string, unknown> {
  const entries = Object.entries(variables).map(([name, variable]) => {
    const { isSecret = false } = notesOf(name, variable)
    const key = name.toLowerCase()
    return isSecret ? [`${key}_configured`, values[name] !== undefined] : [key, values[name]]
  })
  return Object.fromEntries(entries)
}

function describeRedis({ url, clusterNodes, sentinels, sentinelName }: RedisSettings): string {
  const names = (nodes: RedisSettings['sentinels']) =>
    nodes.map(({ host, port }) => `${host}:${port}`).join(',')
  if (clusterNodes.length > 0) return `redis cluster ${names(clusterNodes)}`
  if (sentinels.length > 0) return `redis ${sentinelName} through sentinels ${names(sentinels)}`
  return url === undefined ? 'redis' : withoutCredentials(url)
}

/** Also without the query, which can hold a password. */
function withoutCredentials(address: string): string {
  const url = URL.parse(address)
  return url === null ? 'configured' : `${url.protocol}//${url.host}${url.pathname}`
}
