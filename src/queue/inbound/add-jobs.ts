/** Adds events to the queue `inbound` on Redis, all of a round trip in one script. */
import type { Cluster, Redis } from 'ioredis'
import type { InboundJob } from '../../core/event.ts'
import { OTHER_NUMBER_MARK } from '../../core/job-id.ts'
import { inboundKeys } from './keys.ts'
import { prepareScript } from './prepare-script.ts'
import { ADD } from './scripts.ts'

/** The options that BullMQ stores with a job that is tried once. */
const JOB_OPTIONS = '{"attempts":0}'

/**
 * Resolves with the number of duplicates dropped, once all jobs are as durable as Redis makes them.
 * @throws the error of Redis or of the connection; some of the jobs may have been added all the same.
 */
export type AddJobs = (jobs: readonly InboundJob[]) => Promise<number>

export function createAddJobs(client: Redis | Cluster): AddJobs {
  const { wait, marker, meta, prefix } = inboundKeys()
  const add = prepareScript(client, ADD)
  return async (jobs) => {
    const args: (string | number)[] = [prefix, Date.now(), JOB_OPTIONS, OTHER_NUMBER_MARK]
    for (const { job_id, event } of jobs) args.push(job_id, event.kind, JSON.stringify(event))
    return Number(await add([wait, marker, meta], args))
  }
}
