/** Puts together what operators and other applications see: health, metrics, the API, the dashboard and Bull Board. */
import type { Router } from 'express'
import { sql } from 'kysely'
import {
  type AdminRouterDeps,
  createAdminRouter,
  createPublicMonitoringRouter,
} from '../../api/admin-router.ts'
import { type ApiRouter, createApiRouter } from '../../api/api-router.ts'
import type { CheckReport, HealthCheck } from '../../api/health.ts'
import type { Metrics } from '../../api/metrics.ts'
import type { Config } from '../../config/config-groups.ts'
import { describeSettingFinding } from '../../core/setting-finding.ts'
import { createDashboard, type Dashboard } from '../../dashboard/dashboard.ts'
import { verifyDatabase } from '../../db/any-table/message-index.ts'
import { createDatabase, createPool } from '../../db/connect.ts'
import { findSchemaFault } from '../../db/migrate.ts'
import { describeOpenBreaker, readOpenBreakers } from '../../db/outbox/circuit-breaker.ts'
import { readStats } from '../../db/views/stats.ts'
import type { RunContext } from '../../lifecycle/run-until-signal.ts'
import type { Logger } from '../../logger/logger.ts'
import { defaultNumbers, missingCredentials, refuseUpload } from '../../providers/index.ts'
import { QUEUE_NAMES } from '../../queue/names.ts'
import { createOutboundProducer } from '../../queue/outbound-producer.ts'
import { logConnectionErrors } from './observers.ts'
import type { Stores } from './open-stores.ts'
import { findUnsafeSettings } from './unsafe-settings.ts'

export type AdminServiceDeps = {
  config: Config
  stores: Stores
  metrics: Metrics
  log: Logger
  context: Pick<RunContext, 'signal' | 'releases'>
}

export type AdminRouters = Pick<Dashboard, 'renderErrorPage'> & {
  admin: Router
  /** Health and metrics for the webhooks' port, where the admin has a port of its own. */
  publicMonitoring: Router
}

export function createAdminService(service: AdminServiceDeps): AdminRouters {
  const { config, stores, metrics, log } = service
  const { db, backend } = stores
  const boardQueues = QUEUE_NAMES.map((name) => backend.createProducerQueue(name))
  const inbound = boardQueues[0]
  const dashboard = createDashboard({
    totals: () => readStats(db),
    waitingJobs: async () => (await inbound?.getWaitingCount()) ?? 0,
  })
  const deps: AdminRouterDeps = {
    admin: config.admin,
    apiTokens: config.apiTokens,
    metricsToken: config.metricsToken,
    publicUrl: config.http.publicUrl,
    health: { checks: healthChecks(stores, config.warnings), isReady: isReceiverReady },
    metrics,
    api: createApi(service),
    boardQueues,
    bullBoardWrite: config.bullBoardWrite,
    dashboard,
    log,
  }
  return {
    admin: createAdminRouter(deps),
    publicMonitoring: createPublicMonitoringRouter(deps),
    renderErrorPage: dashboard.renderErrorPage,
  }
}

/** Most queries take milliseconds; a search through a million contacts may take seconds, and no more. */
const API_STATEMENT_TIMEOUT_MS = 10_000
const API_CONNECTIONS = 5

/** The API has connections of its own, so that many or slow requests take none from the writers. */
function createApi({ config, stores, log, context }: AdminServiceDeps): ApiRouter {
  const db = createDatabase(
    createPool({
      url: stores.databaseUrl,
      applicationName: 'wa-ingest api',
      max: API_CONNECTIONS,
      ...(stores.isPooled ? {} : { statementTimeoutMs: API_STATEMENT_TIMEOUT_MS }),
      queryTimeoutMs: API_STATEMENT_TIMEOUT_MS + 1_000,
      onError: logConnectionErrors(log, 'database'),
    }),
  )
  context.releases.add('database connections of the api', () => db.destroy())
  const producer = createOutboundProducer({ queue: stores.backend.createProducerQueue('outbound') })
  const logFailure = (err: unknown) => log.warn({ err }, 'queue did not hear of a message to send')
  return createApiRouter({
    db,
    stats: () => readStats(stores.db),
    providers: config.providers,
    findMissingCredential: missingCredentials(config.providers),
    defaultNumbers: defaultNumbers(config.providers),
    uploadFolder: config.uploadFolder,
    refuseUpload: refuseUpload(config.providers, config.http.publicUrl),
    notifySend: (messageId) => void producer.notifySends([messageId]).catch(logFailure),
    notifyReceipt: (conversationId) => void producer.notifyReceipts([conversationId]).catch(logFailure),
    signal: context.signal,
    log,
  })
}

function healthChecks(stores: Stores, configWarnings: readonly string[]): HealthCheck[] {
  const { db, backend } = stores
  return [
    {
      name: 'database',
      check: async () => {
        await sql`SELECT 1`.execute(db)
        return { ok: true }
      },
    },
    {
      name: 'queue',
      check: async () => {
        await backend.ping()
        return { ok: true }
      },
    },
    {
      name: 'senders',
      // An open circuit breaker stops no webhook, so it is a finding and not a failure.
      check: async () => ({ ok: true, findings: (await readOpenBreakers(db)).map(describeOpenBreaker) }),
    },
    {
      name: 'index',
      // The check `database` reports one that does not answer; a locked table says nothing about the index.
      check: () =>
        verifyDatabase(db, { lockTimeoutMs: 500 }).then(
          ({ ok, problems }) => ({ ok, findings: problems }),
          () => ({ ok: true }),
        ),
    },
    {
      name: 'schema',
      // A database that was away at the start may come back without its migrations.
      check: () =>
        findSchemaFault(db).then(
          (fault) => ({ ok: fault === undefined, findings: fault === undefined ? [] : [fault] }),
          () => ({ ok: true }),
        ),
    },
    { name: 'configuration', check: async () => ({ ok: true, findings: configWarnings }) },
    {
      name: 'settings',
      check: async () => ({
        ok: true,
        findings: (await findUnsafeSettings(stores))
          .flatMap((found) => found ?? [])
          .map(describeSettingFinding),
      }),
    },
  ]
}

/** The receiver needs one of its two stores. Without the unique index or the schema the database stores nothing. */
function isReceiverReady(reports: readonly CheckReport[]): boolean {
  const isOk = (name: string) => reports.some((report) => report.ok && report.name === name)
  return isOk('index') && isOk('schema') && (isOk('database') || isOk('queue'))
}
