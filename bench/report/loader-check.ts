/** Whether the load generator limited a result. `floor` does the least for each request, so it needs the most of it. */
import type { Result } from './results.ts'
import { number } from './results-table.ts'

/** Above this share of its time it may already have made requests wait. */
const MAX_BUSY_SHARE = 0.6

/** One line; a warning where the results are not to be trusted. */
export function checkLoader(results: readonly Result[]): string {
  const busiest = results.toSorted((a, b) => b.loader_busy_share - a.loader_busy_share)[0]
  if (busiest === undefined) return ''
  const { contender, workload, webhooks_per_second, loader_cpu_ms_per_webhook, loader_busy_share } = busiest
  const facts = `busy for at most ${number(loader_busy_share * 100, 0)} % of the time (${contender}, ${workload}, ${number(webhooks_per_second, 0)} webhooks/s), ${number(loader_cpu_ms_per_webhook * 1_000, 0)} µs of CPU for each webhook`
  return loader_busy_share <= MAX_BUSY_SHARE
    ? `The load generator was not the limit: ${facts}.`
    : `WARNING: the load generator may have been the limit: ${facts}.`
}
