/**
 * The metrics of a process, for Prometheus. They are filled through plain functions, so the modules that count do not
 * depend on Prometheus. Each label has few values: nothing that a client chooses becomes a label.
 */
import type { Request, RequestHandler, Response } from 'express'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { EventKind, Outcome, ProviderName } from '../core/event.ts'
import { createSingleFlight } from './single-flight.ts'

const QUEUE_COUNTS_TIMEOUT_MS = 1_000

/** How a webhook was answered: 200 from the queue, 200 from the database, 401, 503. */
export type WebhookResult = 'queued' | 'stored' | 'forged' | 'unavailable'

export type CircuitName = 'queue' | 'direct'

/** The part of a BullMQ queue that counting needs. */
export type CountedQueue = { name: string; getJobCounts(): Promise<Record<string, number>> }

export type Metrics = ReturnType<typeof createMetrics>

/** To add a metric, put it into one of the functions below and describe it in docs/metrics.md. */
export function createMetrics() {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const queues = queueMetrics(registry)

  return {
    ...receiverMetrics(registry),
    ...workerMetrics(registry),
    /** Counts the jobs of these queues at every scrape, for a second at most. */
    watchQueues: queues.watch,
    /** Measures every request that passes it. The admin router uses it; a second use would count requests twice. */
    observeHttp: createHttpObserver(registry),
    /** Answers a scrape. */
    serve: async (_req: Request, res: Response) => {
      await queues.collect()
      const text = await registry.metrics()
      res.set('Content-Type', registry.contentType).send(text)
    },
  }
}

function receiverMetrics(registry: Registry) {
  const registers = [registry]
  const webhooks = new Counter({
    name: 'wa_ingest_webhooks_total',
    help: 'Webhooks received, by how they were answered.',
    labelNames: ['provider', 'result'],
    registers,
  })
  const events = new Counter({
    name: 'wa_ingest_events_received_total',
    help: 'Events in authentic webhooks, redeliveries included.',
    labelNames: ['provider', 'kind'],
    registers,
  })
  const ack = new Histogram({
    name: 'wa_ingest_ack_seconds',
    help: 'From the arrival of a webhook to its 200.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5],
    registers,
  })
  const directPath = new Counter({
    name: 'wa_ingest_direct_path_total',
    help: 'Events written straight to PostgreSQL because the queue could not take them.',
    registers,
  })
  const circuits = new Gauge({
    name: 'wa_ingest_circuit_open',
    help: '1 while the receiver leaves the queue, or the direct path to the database, alone because it failed.',
    labelNames: ['circuit'],
    registers,
  })
  const unsafeSettings = new Gauge({
    name: 'wa_ingest_unsafe_settings',
    help: 'Settings of Redis and PostgreSQL under which a promise does not hold; the log and /health/ready name them.',
    registers,
  })
  return {
    countWebhook: (provider: ProviderName, result: WebhookResult) => webhooks.inc({ provider, result }),
    countEvents: (provider: ProviderName, kind: EventKind, count = 1) =>
      events.inc({ provider, kind }, count),
    /** From the arrival of a webhook to its 200. */
    observeAck: (seconds: number) => ack.observe(seconds),
    /** Events that went straight to PostgreSQL, past the queue. */
    countDirectPath: (count = 1) => directPath.inc(count),
    /** Whether the receiver leaves a store alone for a while because it failed. */
    setCircuitOpen: (circuit: CircuitName, isOpen: boolean) => circuits.set({ circuit }, isOpen ? 1 : 0),
    /** Settings of the stores under which a promise does not hold. */
    setUnsafeSettings: (count: number) => unsafeSettings.set(count),
  }
}

function workerMetrics(registry: Registry) {
  const registers = [registry]
  const outcomes = new Counter({
    name: 'wa_ingest_outcomes_total',
    help: 'How attempts ended.',
    labelNames: ['outcome'],
    registers,
  })
  const sends = new Counter({
    name: 'wa_ingest_sends_total',
    help: 'Calls to send a message, by how they ended: accepted, not_sent (tried again), failed, stop_sender, unknown.',
    labelNames: ['provider', 'result'],
    registers,
  })
  const batchSize = new Histogram({
    name: 'wa_ingest_batch_size',
    help: 'Events in one transaction.',
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000],
    registers,
  })
  const batchSeconds = new Histogram({
    name: 'wa_ingest_batch_seconds',
    help: 'Duration of one transaction.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  })
  return {
    countOutcome: (outcome: Outcome, count = 1) => outcomes.inc({ outcome }, count),
    /** A call to a provider's API, by how it ended. */
    countSend: (provider: string, result: string) => sends.inc({ provider, result }),
    /** One transaction of the batch writer. */
    observeBatch: ({ size, seconds }: { size: number; seconds: number }) => {
      batchSize.observe(size)
      batchSeconds.observe(seconds)
    },
  }
}

type QueueMetrics = { watch: (queues: readonly CountedQueue[]) => void; collect: () => Promise<void> }
type QueueCounter = { name: string; readCounts: () => Promise<Record<string, number>> }

/** A queue that does not answer is reported as down and without counts: old counts would look like current ones. */
function queueMetrics(registry: Registry): QueueMetrics {
  let counters: QueueCounter[] = []
  const up = new Gauge({
    name: 'wa_ingest_queue_up',
    help: '1 if the queue answered this scrape within a second.',
    labelNames: ['queue'],
    registers: [registry],
  })
  const jobs = new Gauge({
    name: 'wa_ingest_queue_jobs',
    help: 'Jobs on the queue, by state.',
    labelNames: ['queue', 'state'],
    registers: [registry],
  })

  async function collectOne({ name, readCounts }: QueueCounter): Promise<void> {
    const counts = await readCounts().catch(() => undefined)
    up.set({ queue: name }, counts === undefined ? 0 : 1)
    for (const [state, count] of Object.entries(counts ?? {})) jobs.set({ queue: name, state }, count)
  }

  return {
    watch: (queues) => {
      counters = queues.map(createQueueCounter)
    },
    collect: async () => {
      jobs.reset()
      await Promise.all(counters.map(collectOne))
    },
  }
}

function createQueueCounter(queue: CountedQueue): QueueCounter {
  const readCounts = createSingleFlight({
    call: () => queue.getJobCounts(),
    timeoutMs: QUEUE_COUNTS_TIMEOUT_MS,
    task: `Counting the jobs of "${queue.name}"`,
  })
  return { name: queue.name, readCounts }
}

function createHttpObserver(registry: Registry): RequestHandler {
  const seconds = new Histogram({
    name: 'wa_ingest_http_request_seconds',
    help: 'HTTP requests by route. Status 499: the client left before the answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  })
  return (req, res, next) => {
    const startedAt = performance.now()
    res.once('close', () => {
      const labels = { method: req.method, route: routeOf(req), status: statusOf(res) }
      seconds.observe(labels, (performance.now() - startedAt) / 1000)
    })
    next()
  }
}

/** The pattern of the route and never the path itself: paths contain ids, and a client can invent new paths. */
function routeOf(req: Request): string {
  // Express types `route` as any; a request that matched no route has none.
  const route: { path?: unknown } | undefined = req.route
  const path: unknown = Array.isArray(route?.path) ? route.path[0] : route?.path
  return typeof path === 'string' ? `${req.baseUrl}${path}` : 'other'
}

function statusOf(res: Response): number {
  return res.writableFinished ? res.statusCode : 499
}
