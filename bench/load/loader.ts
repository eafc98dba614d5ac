/** Starts the process that the load comes from, and gives it its orders. */
import { fileURLToPath } from 'node:url'
import { spawnTethered } from '../../src/local/tethered-process.ts'
import type { Order, Report } from './generator.ts'
import type { LoadOptions, LoadResult } from './send-load.ts'

export type SentLoad = LoadResult & {
  /** CPU time of the load generator itself. */
  loaderCpuMs: number
  /** The share of the time in which the load generator was busy; near 1, it limits the result. */
  loaderBusyShare: number
}

export type Loader = {
  /** Reads the files that request-files.ts has written. */
  read(path: string): Promise<void>
  /** One at a time. @throws when the receiver cannot be reached. */
  send(options: LoadOptions, onProgress?: (answered: number) => void): Promise<SentLoad>
  stop(): void
}

const GENERATOR = fileURLToPath(new URL('generator.ts', import.meta.url))

export function startLoader(): Loader {
  const child = spawnTethered(process.execPath, [GENERATOR], {
    endSignal: 'KILL',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  let onReport: (report: Report) => void = () => {}
  let onEnd: (err: Error) => void = () => {}
  child.on('message', (report: Report) => onReport(report))
  child.on('error', (err) => onEnd(err))
  child.on('exit', (code, signal) =>
    onEnd(new Error(`the load generator has ended by itself (${signal ?? code})`)),
  )

  function ask(order: Order, onProgress: (answered: number) => void = () => {}): Promise<Report> {
    return new Promise((resolve, reject) => {
      onEnd = reject
      onReport = (report) => {
        if (report.kind === 'progress') onProgress(report.answered)
        else if (report.kind === 'failed') reject(new Error(report.message))
        else resolve(report)
      }
      child.send(order)
    })
  }

  return {
    read: async (path) => {
      await ask({ kind: 'read', path })
    },
    send: async (options, onProgress) => {
      const report = await ask({ kind: 'send', ...options }, onProgress)
      if (report.kind !== 'sent') throw new Error(`the load generator answered ${report.kind}`)
      return { ...report.result, loaderCpuMs: report.cpuMs, loaderBusyShare: report.busyShare }
    },
    stop: () => child.kill('SIGKILL'),
  }
}
