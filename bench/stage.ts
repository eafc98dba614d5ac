/** A session and what one workload needs beside it: the requests, and how to tell that everything is stored. */
import { withClient } from '../rig/with-client.ts'
import type { Loader } from './load/loader.ts'
import type { Stretch } from './load/prepared-load.ts'
import { COMPLETE_WITH_ANSWER, type Completion, completionInJobs } from './measure/completion.ts'
import { createServerStatistics, type ServerStatistics } from './measure/server-statistics.ts'
import type { BenchPostgres } from './servers/postgres.ts'
import { fillSentMessages } from './servers/sent-messages.ts'
import type { Session } from './session.ts'
import type { Settings } from './settings.ts'
import type { Workload } from './workloads.ts'

export type StageDeps = {
  settings: Settings
  postgres: BenchPostgres
  loader: Loader
  signal: AbortSignal
  /** Is called with what the run does at this moment. */
  onPhase(phase: string): void
}

export type Order = {
  workload: Workload
  /** Parts of the files that the loader has read. */
  load: { warmUp: Stretch; main: Stretch; paced: Stretch | undefined }
  /** Webhooks per second where they are paced; undefined: nothing is paced. */
  rate: number | undefined
}

export type Stage = StageDeps &
  Order &
  Session & {
    completion: Completion
    /** With --profile. */
    statistics: ServerStatistics | undefined
  }

export async function setStage(deps: StageDeps, order: Order, session: Session): Promise<Stage> {
  const { contender, databaseUrl, redis } = session
  const ids = [order.load.warmUp, order.load.main].flatMap((stretch) => stretch.sentMessageIds())
  if (ids.length > 0) {
    await withClient(databaseUrl, (client) => fillSentMessages(client, contender.tables, ids))
  }
  const { profileDir } = deps.settings
  const statistics =
    profileDir === undefined
      ? undefined
      : createServerStatistics({
          ...{ databaseUrl, redisUrl: redis?.url, directory: profileDir },
          name: `${order.workload.name}-${contender.name}`,
        })
  const completion = contender.stores ? session.rows : watchJobs(deps, order, session)
  return { ...deps, ...order, ...session, completion, statistics }
}

/** The worker says how many jobs it did when it ends; those of the warm-up are among them. */
function watchJobs({ signal }: StageDeps, { load }: Order, { redis, running }: Session): Completion {
  if (redis === undefined) return COMPLETE_WITH_ANSWER
  const { warmUp } = load
  const warmUpJobs = warmUp.acknowledged({ sent: warmUp.to - warmUp.from, refused: [] }).count
  return completionInJobs(redis.connection, signal, async () => {
    await running.stop()
    return Number(/^done (\d+)$/m.exec(running.worker?.stdout ?? '')?.[1] ?? 0) - warmUpJobs
  })
}
