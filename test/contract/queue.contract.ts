/** The promises of both queue backends (src/queue/backend.ts). A backend under test calls `describeQueueContract`. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { InboundJobResult, QueueBackend, ReservedJob } from '../../src/queue/backend.ts'
import { createInboundProducer, type InboundProducer } from '../../src/queue/inbound-producer.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { jobIds } from '../support/facts.ts'
import { inboundJob } from '../support/inbound-queue.ts'
import type { TcpProxy } from '../support/tcp-proxy.ts'

/** A backend behind a proxy that can cut it off. */
export type QueueHarness = { backend: QueueBackend; proxy: TcpProxy }

export function describeQueueContract(name: string, createHarness: () => Promise<QueueHarness>): void {
  describe(`queue on ${name}`, () => {
    let proxy: TcpProxy
    let backend: QueueBackend
    let producer: InboundProducer

    beforeEach(async () => {
      ;({ backend, proxy } = await createHarness())
      producer = createInboundProducer({ addInbound: backend.createInboundAdd() })
      await backend.ready()
    })

    afterEach(async () => {
      proxy.thaw()
      // A connection that has died silently could not be closed in order.
      proxy.cutSevered()
      await proxy.bringUp()
      await backend.close()
    })

    let failures: string[]

    function consume(process: (job: ReservedJob) => Promise<InboundJobResult>, concurrency = 50) {
      failures = []
      const onFailed = (err: Error) => failures.push(err.message)
      const consumer = backend.createInboundConsumer({ concurrency, process, onFailed })
      consumer.run()
      cleanUp(() => consumer.close())
    }

    function work(processor: (id: string) => Promise<unknown>): { ran: string[] } {
      const ran: string[] = []
      consume(async ({ id }) => {
        ran.push(id)
        await processor(id)
        return { outcome: 'stored' }
      })
      return { ran }
    }

    test('hands every job to its consumer with its data unchanged', async () => {
      const payload = '{"text":"caf\\u00e9 \\u0000 \\ud800","n":12345678901234567890}'
      const seen: unknown[] = []
      consume(async ({ data }) => {
        seen.push(data)
        return { outcome: 'stored' }
      }, 1)

      await producer.add([inboundJob('wamid.A', payload)])

      await eventually(() => expect(seen).toEqual([inboundJob('wamid.A', payload).event]))
    })

    test('drops a duplicate while the first is waiting', async () => {
      await producer.add([inboundJob('wamid.A'), inboundJob('wamid.A')])
      await producer.add([inboundJob('wamid.A')])

      const counts = await backend.createQueue('inbound').getJobCounts()
      expect(counts.waiting ?? counts.wait).toBe(1)
    })

    test('drops a duplicate while the first is active', async () => {
      let finish = () => {}
      const { ran } = work(() => new Promise<void>((resolve) => (finish = resolve)))
      await producer.add([inboundJob('wamid.A')])
      await eventually(() => expect(ran).toEqual(['wamid.A']))

      await producer.add([inboundJob('wamid.A')])
      finish()

      await eventually(async () => {
        expect(
          await backend.createQueue('inbound').getJobCounts('completed', 'wait', 'active'),
        ).toMatchObject({
          completed: 1,
          active: 0,
        })
      })
      expect(ran).toEqual(['wamid.A'])
    })

    test('drops a duplicate of a completed job, and runs it again once the job was removed', async () => {
      const { ran } = work(async () => {})
      const queue = backend.createQueue('inbound')
      await producer.add([inboundJob('wamid.A')])
      await eventually(async () => expect(await queue.getCompletedCount()).toBe(1))

      await producer.add([inboundJob('wamid.A')])
      await producer.add([inboundJob('wamid.B')])
      await eventually(() => expect(ran).toContain('wamid.B'))
      expect(ran.filter((id) => id === 'wamid.A')).toHaveLength(1)

      await (await queue.getJob('wamid.A'))?.remove()
      await producer.add([inboundJob('wamid.A')])
      await eventually(() => expect(ran.filter((id) => id === 'wamid.A')).toHaveLength(2))
    })

    describe('one id for two business numbers', () => {
      const jobOf = (business_number: string) => {
        const { job_id, event } = inboundJob('wamid.A', `{"business_number":"${business_number}0"}`)
        return { job_id, event: { ...event, business_number } }
      }
      const numbersOf = (seen: readonly unknown[]) =>
        seen.map((data) => (data as { business_number: string }).business_number).toSorted()

      test.each([
        ['one after the other', false],
        ['in one webhook', true],
      ])('keeps both events, %s, and drops the duplicates of each', async (_how, isTogether) => {
        const jobs = [jobOf('100'), jobOf('200'), jobOf('300')]
        const add = async () => {
          if (isTogether) await producer.add([...jobs, ...jobs])
          else for (const job of jobs) await producer.add([job, job])
        }

        await add()
        await add()

        const seen: unknown[] = []
        consume(async ({ data }) => {
          seen.push(data)
          return { outcome: 'stored' }
        })
        const queue = backend.createQueue('inbound')
        await eventually(async () => expect(await queue.getCompletedCount()).toBe(3))
        await add()
        expect(numbersOf(seen)).toEqual(['100', '200', '300'])
        expect((await queue.getJob('wamid.A'))?.data).toMatchObject({ business_number: '100' })
      })

      test('keeps both when they come at the same moment through two receivers', async () => {
        const other = createInboundProducer({ addInbound: backend.createInboundAdd() })
        await backend.ready()

        await Promise.all([producer.add([jobOf('100')]), other.add([jobOf('200')])])

        const { waiting, wait = waiting } = await backend.createQueue('inbound').getJobCounts()
        expect(wait).toBe(2)
      })
    })

    test.each(['wait', 'marker', 'meta', 'id', 'events', '123', '0', 'a:b', 'completed', 'x'.repeat(600)])(
      'survives the hostile message id %s, and drops its duplicate',
      async (id) => {
        const { ran } = work(async () => {})

        await producer.add([inboundJob(jobIds.message(id)), inboundJob(jobIds.message(id))])
        await producer.add([inboundJob('wamid.after')])

        await eventually(() => expect(ran.toSorted()).toEqual([jobIds.message(id), 'wamid.after'].toSorted()))
      },
    )

    test('shares round trips: 300 requests at once all succeed', async () => {
      const requests = Array.from({ length: 300 }, (_, i) => producer.add([inboundJob(`wamid.${i}`)]))

      await Promise.all(requests)

      const counts = await backend.createQueue('inbound').getJobCounts('wait')
      expect(counts.wait).toBe(300)
    })

    test('reports about how many duplicates it dropped', async () => {
      let counted = 0
      const isCounted = (count: number) =>
        eventually(() => {
          counted += producer.takeDropped()
          expect(counted).toBe(count)
        })
      const jobs = [inboundJob('wamid.A'), inboundJob('wamid.A'), inboundJob('wamid.B')]

      await producer.add(jobs)
      await isCounted(1)
      await producer.add(jobs)
      await isCounted(1 + 3)

      expect(producer.takeDropped()).toBe(0)
    })

    test('requeues a job that cannot be stored, which uses up no attempt', async () => {
      const queue = backend.createQueue('inbound')
      const runs: string[] = []
      let isAway = true
      consume(async ({ id }) => {
        runs.push(id)
        return isAway ? { outcome: 'retry', pauseMs: 100 } : { outcome: 'stored' }
      })

      await producer.add([inboundJob('wamid.A')])
      await eventually(() => expect(runs.length).toBeGreaterThan(1))
      isAway = false

      await eventually(async () => expect(await queue.getCompletedCount()).toBe(1))
      expect((await queue.getJob('wamid.A'))?.attemptsMade).toBe(1)
    })

    test('a delayed job lets the others go first, again and again, and uses up no attempt', async () => {
      const queue = backend.createQueue('inbound')
      const runs: string[] = []
      let isRefused = true
      consume(async ({ id }) => {
        runs.push(id)
        const isDelayed = isRefused && id.startsWith('wamid.BAD')
        return isDelayed ? { outcome: 'retry', pauseMs: 0, delayMs: 50 } : { outcome: 'stored' }
      }, 2)

      await producer.add(Array.from({ length: 6 }, (_, n) => inboundJob(`wamid.BAD${n}`)))
      await producer.add([inboundJob('wamid.GOOD')])
      await eventually(async () => expect(await queue.getCompletedCount()).toBe(1))
      isRefused = false

      await eventually(async () => expect(await queue.getCompletedCount()).toBe(7))
      expect((await queue.getJob('wamid.BAD0'))?.attemptsMade).toBe(1)
    })

    test('a job that is to be requeued while the backend is away does not fail, and runs when the backend is back', async () => {
      const runs: string[] = []
      await producer.add([inboundJob('wamid.A')])
      consume(async ({ id }) => {
        runs.push(id)
        if (runs.length > 1) return { outcome: 'stored' }
        await proxy.takeDown()
        return { outcome: 'retry', pauseMs: 100 }
      })
      await eventually(() => expect(runs).toHaveLength(1))

      await proxy.bringUp()

      const queue = backend.createQueue('inbound')
      await eventually(async () => expect(await queue.getCompletedCount()).toBe(1), { timeoutMs: 30_000 })
      expect(failures).toEqual([])
    })

    test('a job whose processing throws fails with the error, and runs again when it is retried', async () => {
      const queue = backend.createQueue('inbound')
      let isBroken = true
      work(async () => {
        if (isBroken) throw new Error('cannot be read')
      })

      await producer.add([inboundJob('wamid.A'), inboundJob('wamid.B')])
      await eventually(async () => expect(await queue.getFailedCount()).toBe(2))
      const [failed] = await queue.getFailed()
      expect(failed).toMatchObject({ failedReason: 'cannot be read', attemptsMade: 1 })
      isBroken = false
      await queue.retryJobs()

      await eventually(async () => expect(await queue.getCompletedCount()).toBe(2))
      expect(await queue.getFailedCount()).toBe(0)
    })

    test('a removed job runs again when it is added again', async () => {
      const runs: string[] = []
      consume(async ({ id }) => {
        runs.push(id)
        return { outcome: 'stored', removeWhenDone: true }
      })

      await producer.add([inboundJob('wamid.A')])
      await eventually(() => expect(runs).toHaveLength(1))

      await eventually(async () => {
        await producer.add([inboundJob('wamid.A')])
        expect(runs.length).toBeGreaterThan(1)
      })
    })

    test('reserves no job of a paused queue, and all of them after it is resumed', async () => {
      const queue = backend.createQueue('inbound')
      await queue.pause()
      await producer.add([inboundJob('wamid.A'), inboundJob('wamid.B')])

      // A consumer that has just started reserves at once.
      const { ran } = work(async () => {})
      const isReserved = eventually(() => expect(ran).not.toEqual([]), { timeoutMs: 1_000 })
      await expect(isReserved).rejects.toThrow()
      await queue.resume()

      await eventually(() => expect(ran).toEqual(['wamid.A', 'wamid.B']))
    })

    test('fails fast while the backend refuses connections, and recovers by itself', async () => {
      await producer.add([inboundJob('wamid.A')])
      await proxy.takeDown()

      const startedAt = performance.now()
      await expect(producer.add([inboundJob('wamid.B')])).rejects.toThrow()
      expect(performance.now() - startedAt).toBeLessThan(3_000)

      await proxy.bringUp()
      await eventually(() => producer.add([inboundJob('wamid.C')]), { timeoutMs: 15_000 })
    })

    test('fails fast while the backend is frozen, and recovers by itself', async () => {
      await producer.add([inboundJob('wamid.A')])
      await proxy.freeze()

      await expect(producer.add([inboundJob('wamid.B')])).rejects.toThrow(/longer than/)

      await proxy.thaw()
      await eventually(() => producer.add([inboundJob('wamid.C')]), { timeoutMs: 15_000 })
    })

    test('producer and consumer go on after their connections have died silently', async () => {
      const { ran } = work(async () => {})
      await producer.add([inboundJob('wamid.A')])
      await eventually(() => expect(ran).toEqual(['wamid.A']))

      proxy.sever()

      await eventually(() => producer.add([inboundJob('wamid.B')]), { timeoutMs: 10_000 })
      await eventually(() => expect(ran).toContain('wamid.B'), { timeoutMs: 15_000 })
    })

    test('a consumer goes on after the backend was away', async () => {
      const { ran } = work(async () => {})
      await producer.add([inboundJob('wamid.A')])
      await eventually(() => expect(ran).toEqual(['wamid.A']))

      await proxy.takeDown()
      await expect(producer.add([inboundJob('wamid.B')])).rejects.toThrow()
      await proxy.bringUp()
      await eventually(() => producer.add([inboundJob('wamid.C')]), { timeoutMs: 15_000 })

      await eventually(() => expect(ran).toContain('wamid.C'), { timeoutMs: 30_000 })
    })
  })
}
