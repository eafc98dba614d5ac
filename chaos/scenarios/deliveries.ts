/** Webhooks that come twice, in every way in which they can, and several at the same instant. */
import { createStream, type StreamWebhook } from '../load/stream.ts'
import { withQueueBackend } from '../queue.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { BACKENDS } from '../world/world.ts'

const SECOND = 1_000
/** The sweep runs every 5 s and starts jobs again that failed 10 s ago. */
const LONGEST_SWEEP_MS = 25 * SECOND

export const statusRace: Scenario = {
  name: 'status-race',
  promise:
    'a message and its statuses at the same instant, on two receivers and two workers: the final status is right',
  backends: BACKENDS,
  seconds: 6,
  world: { apis: 2, workers: 2 },
  load: { rate: 5 },
  async run(ctx) {
    const webhooks = takeWebhooks(ctx, { batch: 1, maxRedeliveries: 0, echoShare: 1 })
    await ctx.repeat(async () => {
      await ctx.load.burst(webhooks(80))
      await ctx.pause(50, 200)
    })
  },
}

export const duplicates: Scenario = {
  name: 'duplicates-at-once',
  promise: 'the same webhook ten times at the same instant, with duplicates inside, is stored once',
  backends: BACKENDS,
  seconds: 6,
  world: { apis: 2, workers: 2 },
  load: { rate: 5 },
  async run(ctx) {
    const webhooks = takeWebhooks(ctx, { maxRedeliveries: 0 })
    await ctx.repeat(async () => {
      await ctx.load.burst(webhooks(8).flatMap((webhook) => Array.from({ length: 10 }, () => webhook)))
      await ctx.pause(50, 200)
    })
  },
}

export const redeliveryAfterDays: Scenario = {
  name: 'redelivery-after-days',
  promise: 'what Meta sends again when the queue has long forgotten it is stored once all the same',
  backends: BACKENDS,
  seconds: 5,
  async run(ctx) {
    await ctx.repeat(() => ctx.pause(1 * SECOND))
    ctx.load.pause()
    await untilQueueIsEmpty(ctx)
    // The limits of age and number do the same within the days for which Meta sends again.
    const removed = await removeCompletedJobs(ctx)
    ctx.note(`${removed} completed jobs were removed before everything was sent again`)
    ctx.check('completed jobs were removed', removed > 0)
    await ctx.load.redeliverAll()
  },
}

export const failedJob: Scenario = {
  name: 'failed-job',
  promise: 'a job that failed swallows its redelivery, and is run again by itself: nothing is lost',
  backends: BACKENDS,
  seconds: 3,
  load: { maxRedeliveries: 0 },
  async run(ctx) {
    for (const worker of ctx.world.workers) await worker.stop()
    await ctx.repeat(() => ctx.pause(1 * SECOND))
    ctx.load.pause()
    await ctx.pause(500)
    const failed = await failEveryJob(ctx)
    ctx.note(`${failed} jobs had failed when everything was sent again`)
    ctx.check('jobs have failed', failed > 0)
    await ctx.load.redeliverAll()
    for (const worker of ctx.world.workers) await worker.start()
    await ctx.until('failed jobs are run again by themselves', LONGEST_SWEEP_MS, async () => {
      return (await ctx.auditor.countMissing()) === 0
    })
  },
}

export const deliveryScenarios = [statusRace, duplicates, redeliveryAfterDays, failedJob]

/** Webhooks beside those of the load, under ids of their own. */
function takeWebhooks(
  { random }: ScenarioContext,
  shape: Parameters<typeof createStream>[0] extends infer Options ? Partial<Options> : never,
): (count: number) => StreamWebhook[] {
  const seed = random.integer(2 ** 32)
  const stream = createStream({ ...shape, seed, run: seed.toString(16).padStart(8, '0') })
  let next = 0
  return (count) => Array.from({ length: count }, () => stream.webhook(next++))
}

async function untilQueueIsEmpty(ctx: ScenarioContext): Promise<void> {
  await ctx.until('the queue comes to rest', 30 * SECOND, async () => {
    return Object.keys(await ctx.auditor.queueCounts()).length === 0
  })
}

async function removeCompletedJobs({ world }: ScenarioContext): Promise<number> {
  return withQueueBackend(world, async (backend) => {
    const queue = backend.createQueue('inbound')
    let total = 0
    for (;;) {
      const removed = await queue.clean(0, 1_000, 'completed')
      total += removed.length
      if (removed.length === 0) return total
    }
  })
}

/** Runs a worker whose jobs all fail, as a defect would make them. */
async function failEveryJob(ctx: ScenarioContext): Promise<number> {
  return withQueueBackend(ctx.world, async (backend) => {
    const queue = backend.createQueue('inbound')
    const worker = backend.createWorker(
      'inbound',
      async () => {
        throw new Error('failed on purpose')
      },
      { concurrency: 50 },
    )
    worker.run().catch(() => {})
    await ctx.until('every job has failed', 30 * SECOND, async () => {
      const { waiting = 0, active = 0 } = await queue.getJobCounts()
      return waiting + active === 0
    })
    await worker.close()
    return queue.getFailedCount()
  })
}
