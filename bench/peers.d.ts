/** What the contenders use of the peers, so that types can be checked without installing them. */
declare module 'pg-boss' {
  export class PgBoss {
    constructor(options: { connectionString: string | undefined; useListenNotify?: boolean })
    on(event: 'error', listener: (err: Error) => void): void
    start(): Promise<unknown>
    stop(): Promise<void>
    createQueue(name: string, options?: { notify?: boolean }): Promise<void>
    send(name: string, data: object): Promise<string | null>
    insert(name: string, jobs: { data: object }[]): Promise<string[] | null>
    work<T>(
      name: string,
      options: {
        batchSize?: number
        burstWhenBatchFull?: boolean
        pollingIntervalSeconds?: number
        notifyPollingIntervalSeconds?: number
      },
      handler: (jobs: { id: string; data: T }[]) => Promise<unknown>,
    ): Promise<string>
  }
}

declare module 'graphile-worker' {
  export class Logger {
    constructor(factory: (scope: object) => (level: string, message: string) => void)
  }
  export type WorkerUtils = {
    migrate(): Promise<void>
    addJob(identifier: string, payload: unknown): Promise<unknown>
    addJobs(jobs: { identifier: string; payload: unknown }[]): Promise<unknown>
    release(): Promise<void>
  }
  export function makeWorkerUtils(options: { connectionString: string | undefined }): Promise<WorkerUtils>
  export function run(options: {
    preset: {
      worker: {
        connectionString: string | undefined
        concurrentJobs: number
        maxPoolSize: number
        localQueue: { size: number }
        completeJobBatchDelay: number
        failJobBatchDelay: number
      }
    }
    logger: Logger
    noHandleSignals: boolean
    taskList: Record<string, (payload: unknown) => Promise<void>>
  }): Promise<{ stop(): Promise<void> }>
}
