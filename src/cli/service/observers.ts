/** Turns the reports of the service's parts into log lines and metrics. */
import type { Metrics } from '../../api/metrics.ts'
import type { ReceiverObserver } from '../../api/receive-webhook.ts'
import type { StoreItem } from '../../db/ingest/store-item.ts'
import type { Logger } from '../../logger/logger.ts'
import type { InboundWorkerObserver } from '../../worker/inbound-worker.ts'
import type { SendReport } from '../../worker/send-message.ts'
import type { SendObserver } from '../../worker/send-tasks.ts'

export function observeReceiver(metrics: Metrics, log: Logger): ReceiverObserver {
  return {
    onWebhook: ({ provider, result, jobs, durationMs }) => {
      metrics.countWebhook(provider, result)
      for (const { event } of jobs) metrics.countEvents(provider, event.kind)
      if (result === 'queued' || result === 'stored') metrics.observeAck(durationMs / 1000)
      if (result === 'stored') metrics.countDirectPath(jobs.length)
      log.debug({ provider, result, events: jobs.length, duration_ms: durationMs }, 'webhook')
    },
    onCircuit: (name, isOpen, err) => {
      metrics.setCircuitOpen(name, isOpen)
      if (isOpen) log.warn({ store: name, err }, 'store does not confirm, going around it')
      else log.info({ store: name }, 'store confirms again')
    },
  }
}

export function observeWorker(metrics: Metrics, log: Logger): InboundWorkerObserver {
  return {
    onOutcome: (outcome, { provider, kind }) => {
      metrics.countOutcome(outcome)
      if (outcome === 'parked') log.warn({ provider, kind }, 'event parked')
    },
    onPause: (err, pauseMs) => log.warn({ err, pause_ms: pauseMs }, 'database does not take events, waiting'),
    onFailed: (err, jobId) => log.error({ err, job_id: jobId }, 'job failed, to be run again'),
  }
}

export function observeSends(metrics: Metrics, log: Logger): SendObserver {
  return {
    onSend: (report) => {
      metrics.countSend(report.provider, report.result)
      const { durationMs, outcome: settled, ...fields } = report
      log[levelOf(report)](
        { ...fields, settled, duration_ms: Math.round(durationMs) },
        'message sent to provider',
      )
    },
    onCopy: ({ durationMs, outcome: settled, ...fields }) =>
      log[fields.result === 'copied' || fields.result === 'stopped' ? 'info' : 'warn'](
        { ...fields, settled, duration_ms: Math.round(durationMs) },
        'file given to provider',
      ),
    onUnsendable: (message_id, code) => log.warn({ message_id, code }, 'message cannot be sent'),
    onUnrecorded: (err, message_id) =>
      log.error({ err, message_id }, 'outcome of a send cannot be stored, trying again'),
    onPause: (err, pauseMs) => log.warn({ err, pause_ms: pauseMs }, 'database is away, sending waits'),
    onFailed: (err, jobId) => log.error({ err, job_id: jobId }, 'send job failed, to be rung again'),
  }
}

/** `error` for a sender that may not send, and `warn` for every other send that was not accepted. */
function levelOf({ result }: SendReport): 'info' | 'warn' | 'error' {
  if (result === 'stop_sender') return 'error'
  return result === 'accepted' ? 'info' : 'warn'
}

/** Logs each kind of error once in 10 s: while a store is away, connections fail by the hundred. */
export function logConnectionErrors(log: Logger, store: 'queue' | 'database'): (err: Error) => void {
  const lastLoggedAt = new Map<string, number>()
  return (err) => {
    const kind = 'code' in err ? String(err.code) : err.name
    const now = performance.now()
    if (now - (lastLoggedAt.get(kind) ?? Number.NEGATIVE_INFINITY) < REPEAT_AFTER_MS) return
    lastLoggedAt.set(kind, now)
    log.warn({ err, store }, 'connection failed')
  }
}

const REPEAT_AFTER_MS = 10_000

/**
 * Logs items that the database refuses, when they are refused for the first time. Each reason once in 10 s, with the number of
 * those in between, because a trigger can refuse thousands.
 */
export function observeSuspects(log: Logger): (item: StoreItem, reason: string) => void {
  const loggedAt = new Map<string, number>()
  const unlogged = new Map<string, number>()
  return ({ job_id, event }, reason) => {
    const now = performance.now()
    if (now - (loggedAt.get(reason) ?? Number.NEGATIVE_INFINITY) < REPEAT_AFTER_MS) {
      unlogged.set(reason, (unlogged.get(reason) ?? 0) + 1)
      return
    }
    loggedAt.set(reason, now)
    const fields = { job_id, provider: event.provider, kind: event.kind, reason }
    log.warn(
      { ...fields, not_logged: unlogged.get(reason) ?? 0 },
      'event refused by the database, trying it by itself',
    )
    unlogged.delete(reason)
  }
}

export function observeBatch(metrics: Metrics) {
  return (size: number, durationMs: number) => metrics.observeBatch({ size, seconds: durationMs / 1000 })
}
