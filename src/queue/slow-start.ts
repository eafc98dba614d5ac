/**
 * How many jobs a worker takes at a time, beginning with few.
 *
 * BullMQ's worker fetches as many jobs as it may run, one round trip after the other, before it begins with the first; the
 * locks of those that wait are not renewed. With 512 jobs and a Redis that needs 10 ms for each, the first job began after
 * 5 s, without its lock, and ran a second time elsewhere (measured with BullMQ 6.7.0, after every pause). So a worker that
 * has paused or had nothing to do begins with a few, and takes twice as many each time that all of them are under way.
 */
import type { Job, Worker } from 'bullmq'

type Processor = (job: Job) => Promise<unknown>

const FIRST_JOBS = 32

/** `make` makes the worker with this processor, and with this many jobs at a time to begin with. */
export function startSlowly(
  processor: Processor,
  maxJobs: number,
  make: (processor: Processor, jobs: number) => Worker,
): Worker {
  const first = Math.min(FIRST_JOBS, maxJobs)
  let running = 0
  const begin = () => {
    worker.concurrency = first
  }
  const worker = make(async (job) => {
    running++
    if (running >= worker.concurrency) worker.concurrency = Math.min(maxJobs, running * 2)
    try {
      return await processor(job)
    } catch (err) {
      begin()
      throw err
    } finally {
      running--
    }
  }, first)
  worker.on('drained', begin)
  return worker
}
