/**
 * The process that the load comes from; loader.ts starts it and tells it what to do. It does as little as possible: the
 * requests are bytes in memory before they are asked for.
 */
import { type Requests, readRequestFiles } from './request-files.ts'
import type { LoadResult } from './send-load.ts'
import { type LoadOptions, sendLoad } from './send-load.ts'

export type Order = { kind: 'read'; path: string } | ({ kind: 'send' } & LoadOptions)

export type Report =
  | { kind: 'read'; count: number }
  | { kind: 'progress'; answered: number }
  | { kind: 'sent'; result: LoadResult; cpuMs: number; busyShare: number }
  | { kind: 'failed'; message: string }

let requests: Requests | undefined

process.on('message', (order: Order) => {
  obey(order).then(report, (err: Error) => report({ kind: 'failed', message: err.message }))
})
process.on('disconnect', () => process.exit())

async function obey(order: Order): Promise<Report> {
  if (order.kind === 'read') {
    requests = readRequestFiles(order.path)
    return { kind: 'read', count: requests.count }
  }
  if (requests === undefined) throw new Error('no requests were read')
  const cpuBefore = process.cpuUsage()
  const loopBefore = performance.eventLoopUtilization()
  const result = await sendLoad(order, requests, (answered) => report({ kind: 'progress', answered }))
  const { user, system } = process.cpuUsage(cpuBefore)
  const busyShare = performance.eventLoopUtilization(loopBefore).utilization
  return { kind: 'sent', result, cpuMs: (user + system) / 1_000, busyShare }
}

function report(message: Report): void {
  process.send?.(message)
}
