/**
 * Receiving a webhook: 200 means that every event in it is on disk.
 *
 * The receiver tries the queue first. If the queue is away, slow or nearly full, the events go straight to PostgreSQL,
 * through the batch writer that the worker uses as well. If neither confirms in time, the answer is 503 at once, and
 * Meta redelivers for 7 days. Both stores drop duplicates, so a webhook that was stored in part can be sent again.
 */
import type { Circuit } from '../core/circuit.ts'
import { DeadlineError, withDeadline } from '../core/deadline.ts'
import type { InboundJob, ProviderName } from '../core/event.ts'
import type { IncomingWebhook, Provider } from '../providers/provider.ts'

/**
 * - `queued`: durable in the queue
 * - `stored`: durable in the database
 * - `forged`: not signed by the provider; nothing was stored
 * - `unavailable`: no store could confirm in time
 */
export type ReceiveResult = 'queued' | 'stored' | 'forged' | 'unavailable'

export type ReceiverObserver = {
  /** Called once for each webhook, when its answer is known. */
  onWebhook(report: {
    provider: ProviderName
    result: ReceiveResult
    jobs: readonly InboundJob[]
    durationMs: number
  }): void
  /** Called when the circuit of the queue or of the direct path opens or closes. */
  onCircuit(name: 'queue' | 'direct', isOpen: boolean, cause?: unknown): void
}

/**
 * What became of events that were given to the database: all are stored; it does not take events; or it takes others, and
 * refuses one of these.
 */
export type DirectResult = 'stored' | 'unavailable' | 'refused'

export type ReceiverDeps = {
  queue: { add(jobs: readonly InboundJob[]): Promise<void>; pending(): number }
  /** Whether the queue is so full that events should not be added. */
  isQueueFull: () => boolean
  direct: { store(jobs: readonly InboundJob[]): Promise<DirectResult>; pending(): number }
  queueCircuit: Circuit
  directCircuit: Circuit
  observer: ReceiverObserver
  directTimeoutMs?: number
}

export type ReceiveWebhook = (provider: Provider, webhook: IncomingWebhook) => Promise<ReceiveResult>

const DIRECT_TIMEOUT_MS = 2_000
/**
 * Events that may wait in memory for one store. With more the store cannot keep up, and a 503 at once is better than a
 * time-out later. The events of the new webhook do not count: otherwise a webhook with more events would never be accepted.
 */
const MAX_PENDING_EVENTS = 20_000

export function createReceiveWebhook(deps: ReceiverDeps): ReceiveWebhook {
  return async (provider, webhook) => {
    const startedAt = performance.now()
    const jobs = provider.isAuthentic(webhook) ? provider.parse(webhook) : undefined
    const result = jobs === undefined ? 'forged' : await makeDurable(deps, jobs)
    deps.observer.onWebhook({
      provider: provider.name,
      result,
      jobs: jobs ?? [],
      durationMs: performance.now() - startedAt,
    })
    return result
  }
}

async function makeDurable(deps: ReceiverDeps, jobs: readonly InboundJob[]): Promise<ReceiveResult> {
  if (await tryQueue(deps, jobs)) return 'queued'
  return (await tryDirect(deps, jobs)) ? 'stored' : 'unavailable'
}

async function tryQueue(deps: ReceiverDeps, jobs: readonly InboundJob[]): Promise<boolean> {
  const { queue, queueCircuit, isQueueFull, observer } = deps
  if (isQueueFull() || queue.pending() > MAX_PENDING_EVENTS || !queueCircuit.tryEnter()) return false
  try {
    await queue.add(jobs)
    if (queueCircuit.isOpen()) observer.onCircuit('queue', false)
    queueCircuit.succeed()
    return true
  } catch (err) {
    if (!queueCircuit.isOpen()) observer.onCircuit('queue', true, err)
    queueCircuit.fail()
    return false
  }
}

async function tryDirect(deps: ReceiverDeps, jobs: readonly InboundJob[]): Promise<boolean> {
  const { direct, directCircuit, observer, directTimeoutMs = DIRECT_TIMEOUT_MS } = deps
  if (direct.pending() > MAX_PENDING_EVENTS || !directCircuit.tryEnter()) return false
  try {
    const result = await withDeadline(direct.store(jobs), directTimeoutMs, 'storing directly')
    if (result !== 'unavailable') {
      if (directCircuit.isOpen()) observer.onCircuit('direct', false)
      directCircuit.succeed()
      return result === 'stored'
    }
    return failDirect(deps, undefined)
  } catch (err) {
    if (!(err instanceof DeadlineError)) throw err
    return failDirect(deps, err)
  }
}

function failDirect({ directCircuit, observer }: ReceiverDeps, cause: unknown): false {
  if (!directCircuit.isOpen()) observer.onCircuit('direct', true, cause)
  directCircuit.fail()
  return false
}
