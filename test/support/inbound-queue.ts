/** The queue `inbound` on a Redis of the test's own, as our scripts and as BullMQ see it. */
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { EVENT_VERSION, type InboundJob } from '../../src/core/event.ts'
import { type AddJobs, createAddJobs } from '../../src/queue/inbound/add-jobs.ts'
import {
  type InboundJobs,
  type InboundJobsOptions,
  openInboundJobs,
} from '../../src/queue/inbound/inbound-jobs.ts'
import { QUEUE_PREFIX } from '../../src/queue/names.ts'
import { cleanUp } from './clean-up.ts'
import { takeRedisUrl } from './redis.ts'

export type InboundQueue = {
  client: Redis
  /** BullMQ's. */
  queue: Queue
  add: AddJobs
  connect(): Redis
  openJobs(options: Omit<InboundJobsOptions, 'client' | 'waitingClient'> & { client?: Redis }): InboundJobs
}

/** Closed with the test. `redisUrl`: a server of the test's own; otherwise the shared one. */
export async function openInboundQueue({ redisUrl }: { redisUrl?: string } = {}): Promise<InboundQueue> {
  const url = redisUrl ?? (await takeRedisUrl())
  const connect = () => {
    const redis = new Redis(url, { maxRetriesPerRequest: null })
    cleanUp(() => redis.disconnect())
    return redis
  }
  const client = connect()
  const queue = new Queue('inbound', { prefix: QUEUE_PREFIX, connection: connect() })
  cleanUp(() => queue.close())
  await queue.waitUntilReady()
  return {
    client,
    queue,
    add: createAddJobs(client),
    connect,
    openJobs: (options) => openInboundJobs({ client: connect(), waitingClient: connect(), ...options }),
  }
}

export function inboundJob(id: string, payload = '{}'): InboundJob {
  return {
    job_id: id,
    event: { v: EVENT_VERSION, kind: 'message', provider: 'meta', received_at: 1_750_000_000_000, payload },
  }
}
