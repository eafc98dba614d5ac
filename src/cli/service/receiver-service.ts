/** Puts the receiver together: webhooks come in over HTTP and go to the queue or the database. */
import type { Kysely } from 'kysely'
import { createApp } from '../../api/app.ts'
import { createHandshakeRoutes } from '../../api/handshake-routes.ts'
import { type HttpServer, startHttpServer } from '../../api/http-server.ts'
import { createMediaLinks } from '../../api/media-links.ts'
import type { Metrics } from '../../api/metrics.ts'
import { createReceiveWebhook, type DirectResult } from '../../api/receive-webhook.ts'
import { createWebhookListener } from '../../api/webhook-listener.ts'
import type { Config } from '../../config/config-groups.ts'
import { createCircuit } from '../../core/circuit.ts'
import type { InboundJob } from '../../core/event.ts'
import { addCounts } from '../../db/counters.ts'
import type { EventStore } from '../../db/ingest/event-store.ts'
import { createEventStore } from '../../db/ingest/event-store.ts'
import type { Database } from '../../db/schema.ts'
import type { Logger } from '../../logger/logger.ts'
import { createNormalize, numberRule } from '../../providers/index.ts'
import type { Normalize } from '../../providers/provider.ts'
import type { QueueBackend } from '../../queue/backend.ts'
import { createInboundProducer } from '../../queue/inbound-producer.ts'
import { createMemoryGuard } from '../../queue/memory-guard.ts'
import type { AdminRouters } from './admin-service.ts'
import { observeBatch, observeReceiver, observeSuspects } from './observers.ts'

export type ReceiverServiceDeps = {
  config: Config
  db: Kysely<Database>
  backend: QueueBackend
  metrics: Metrics
  log: Logger
  /** Every route but the webhooks; on a port of its own when ADMIN_PORT is set. */
  routers: AdminRouters
}

export type ReceiverService = {
  port: number
  adminPort: number
  /** Accepts no new request, and finishes those under way. */
  close(): Promise<void>
  /** Checks how full the queue is; call it every second. */
  watchQueueMemory(): Promise<void>
  /** Adds the number of dropped duplicates to the totals; call it every few seconds. */
  countDropped(): Promise<void>
}

const CIRCUIT_COOL_DOWN_MS = 1_000
/** Longer than a webhook may take on both paths. */
const CLOSE_DEADLINE_MS = 3_500

/** @throws Error with one line when the port is taken. */
export async function startReceiverService(deps: ReceiverServiceDeps): Promise<ReceiverService> {
  const { config, backend, metrics, log, routers: admin } = deps
  const guard = createMemoryGuard(backend)
  const producer = createInboundProducer({ addInbound: backend.createInboundAdd() })
  const receiveWebhook = createReceiveWebhook({
    queue: producer,
    isQueueFull: () => guard.isFull(),
    direct: directPath(
      createEventStore({
        db: deps.db,
        choosesNumber: numberRule(config.providers),
        onBatch: observeBatch(metrics),
        onSuspect: observeSuspects(log),
      }),
      createNormalize(config.providers),
    ),
    queueCircuit: createCircuit({ coolDownMs: CIRCUIT_COOL_DOWN_MS }),
    directCircuit: createCircuit({ coolDownMs: CIRCUIT_COOL_DOWN_MS }),
    observer: observeReceiver(metrics, log),
  })

  const { port, host, adminPort, trustProxy } = config.http
  const isSplit = adminPort !== undefined
  const { providers } = config
  const mediaLinks = createMediaLinks({
    db: deps.db,
    uploadFolder: config.uploadFolder,
    providers,
  })
  const routers = [
    createHandshakeRoutes(providers),
    mediaLinks,
    isSplit ? admin.publicMonitoring : admin.admin,
  ]
  const { renderErrorPage } = admin
  // Error pages need the style sheet, which only the admin routes serve.
  const pages = isSplit ? {} : { renderErrorPage }
  const webhooks = createWebhookListener({
    providers,
    receiveWebhook,
    log,
    next: createApp({ routers, trustProxy, log, ...pages }),
  })
  const servers: HttpServer[] = [await startHttpServer(webhooks, { port, host })]
  if (isSplit) {
    const adminApp = createApp({ routers: [admin.admin], trustProxy, log, renderErrorPage })
    servers.push(await startHttpServer(adminApp, { port: adminPort, host }))
  }
  const [first, second = first] = servers
  return {
    port: first?.port ?? port,
    adminPort: second?.port ?? port,
    close: async () => {
      await Promise.all(servers.map((server) => server.close(CLOSE_DEADLINE_MS)))
    },
    watchQueueMemory: () => guard.runOnce(),
    countDropped: () => addCounts(deps.db, { duplicates_queue: producer.takeDropped() }),
  }
}

/** Confirms a webhook only when all its events are stored. When it is redelivered, those stored before are duplicates. */
function directPath(store: EventStore, normalize: Normalize) {
  return {
    pending: () => store.pending(),
    store: async (jobs: readonly InboundJob[]): Promise<DirectResult> => {
      const results = await Promise.all(
        jobs.map((job) => store.store({ ...job, fact: normalize(job.event) })),
      )
      const retries = results.filter((result) => result.outcome === 'retry')
      if (retries.length === 0) return 'stored'
      return retries.every(({ isOnlyThis }) => isOnlyThis) ? 'refused' : 'unavailable'
    },
  }
}
