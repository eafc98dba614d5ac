/** The result of a run: for people as a small table, for programs as one document. */
import { formatCount, formatDuration } from '../progress.ts'
import { formatTable } from '../table.ts'
import type { Audit } from './audit.ts'
import type { EventCounts } from './auditor.ts'
import type { Delivery } from './delivery.ts'
import type { SimulationSettings } from './settings.ts'
import type { Traffic } from './traffic.ts'

export type Report = ReturnType<typeof createReport>

export type Run = { settings: SimulationSettings; traffic: Traffic; delivery: Delivery; audit: Audit }

/** The document of --json. Counts without a name of their own are of messages and statuses together. */
export function createReport({ settings, traffic, delivery, audit }: Run) {
  const { messages, statuses } = audit
  const webhooks = countWebhooks(traffic, delivery)
  const doubled = messages.doubled + statuses.doubled
  const lost = messages.lost + statuses.lost
  const acknowledged = messages.acknowledged + statuses.acknowledged
  const stored = messages.stored + statuses.stored
  const storedAfterMs = delivery.durationMs + audit.waitedMs
  return {
    ok: doubled === 0 && lost === 0 && webhooks.never_acknowledged === 0,
    run: settings.traffic.run,
    seed: settings.traffic.seed,
    url: settings.url.href,
    sent: messages.sent + statuses.sent,
    acknowledged,
    stored,
    doubled,
    lost,
    messages: countsOf(messages),
    statuses: countsOf(statuses),
    webhooks,
    webhooks_per_second: perSecond(delivery.acknowledged, delivery.durationMs),
    acknowledged_per_second: perSecond(acknowledged, delivery.durationMs),
    stored_per_second: perSecond(stored, storedAfterMs),
    ack_p50_ms: round(delivery.ackP50Ms),
    ack_p99_ms: round(delivery.ackP99Ms),
    sending_ms: Math.round(delivery.durationMs),
    storing_ms: Math.round(audit.waitedMs),
    duration_ms: Math.round(storedAfterMs),
    doubled_examples: idsOf(audit.doubledExamples),
    lost_examples: idsOf(audit.lostExamples),
    parked: Object.fromEntries(audit.parked),
  }
}

export function formatReport(report: Report): string {
  const { webhooks, messages, statuses } = report
  const events = formatTable([
    ['', 'sent', 'acknowledged', 'stored', 'doubled', 'lost'],
    ['messages', ...cellsOf(messages)],
    ['statuses', ...cellsOf(statuses)],
  ])
  const requests = formatTable([
    ['', 'sent', 'redeliveries', 'acknowledged', 'refused', 'p50', 'p99'],
    [
      'webhooks',
      ...[webhooks.sent, webhooks.redeliveries, webhooks.acknowledged, webhooks.refused].map(formatCount),
      `${report.ack_p50_ms} ms`,
      `${report.ack_p99_ms} ms`,
    ],
  ])
  const pace = [
    `sent in ${formatDuration(report.sending_ms)}`,
    `${formatCount(report.webhooks_per_second)} webhooks/s`,
    `${formatCount(report.acknowledged_per_second)} messages and statuses/s`,
    `stored ${formatDuration(report.storing_ms)} later`,
  ].join(' · ')
  return [
    requests,
    '',
    events,
    '',
    pace,
    ...remarks(report),
    `seed ${report.seed} · ${verdictOf(report)}`,
  ].join('\n')
}

function verdictOf({ ok, doubled, lost, webhooks }: Report): string {
  if (ok) return 'everything acknowledged is stored exactly once'
  if (doubled === 0 && lost === 0) {
    return `NOT ACCEPTED: ${formatCount(webhooks.never_acknowledged)} webhooks were never acknowledged; what was is stored exactly once`
  }
  return `BROKEN: doubled ${formatCount(doubled)}, lost ${formatCount(lost)}`
}

function remarks(report: Report): string[] {
  const lines: string[] = []
  const unacknowledged = report.messages.stored_unacknowledged + report.statuses.stored_unacknowledged
  if (unacknowledged > 0) {
    lines.push(`${formatCount(unacknowledged)} stored although never acknowledged, which is allowed`)
  }
  if (report.webhooks.not_sent > 0) {
    lines.push(
      `${formatCount(report.webhooks.not_sent)} webhooks not sent: the service had stopped answering`,
    )
  }
  if (report.doubled_examples.length > 0) lines.push(`doubled: ${report.doubled_examples.join(' ')}`)
  if (report.lost_examples.length > 0) lines.push(`lost: ${report.lost_examples.join(' ')}`)
  for (const [reason, count] of Object.entries(report.parked)) {
    lines.push(`parked in webhook_events (${formatCount(count)}): ${reason}`)
  }
  if (report.stored === 0 && report.lost > 0) {
    lines.push('nothing at all is stored: is a worker running, and is this the database of that service?')
  }
  return lines
}

function countWebhooks(traffic: Traffic, delivery: Delivery) {
  let neverAcknowledged = 0
  let notSent = 0
  for (let webhook = 0; webhook < traffic.webhookCount; webhook++) {
    if (!delivery.wasAcknowledged(webhook)) neverAcknowledged++
    if (!delivery.wasSent(webhook)) notSent++
  }
  return {
    sent: delivery.sent,
    redeliveries: delivery.redelivered,
    retries: delivery.retried,
    acknowledged: delivery.acknowledged,
    refused: delivery.refused,
    /** The ones not sent included. */
    never_acknowledged: neverAcknowledged,
    not_sent: notSent,
  }
}

function countsOf({ sent, acknowledged, stored, doubled, lost, storedUnacknowledged }: EventCounts) {
  return { sent, acknowledged, stored, doubled, lost, stored_unacknowledged: storedUnacknowledged }
}

function cellsOf(counts: ReturnType<typeof countsOf>): string[] {
  return [counts.sent, counts.acknowledged, counts.stored, counts.doubled, counts.lost].map(formatCount)
}

function idsOf(keys: readonly { wa_message_id: string }[]): string[] {
  return [...new Set(keys.map((key) => key.wa_message_id))].slice(0, 5)
}

function perSecond(count: number, ms: number): number {
  return ms > 0 ? Math.round((count / ms) * 1_000) : 0
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}
