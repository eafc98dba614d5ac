import { expect, test } from 'vitest'
import { createOutboundProducer, type OutboundJob } from '../../src/queue/outbound-producer.ts'
import { BACKENDS } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { startSending } from '../support/sending.ts'

test.each(BACKENDS)(
  'on %s: the newest notification is taken first, those of one call in their order',
  async (kind) => {
    const { backend } = await startSending(kind)
    const producer = createOutboundProducer({
      queue: backend.createProducerQueue('outbound'),
      timeoutMs: 20_000,
    })
    await backend.ready()
    await producer.notifySends(['1', '2', '3'])
    await producer.notifyReceipts(['4'])
    const taken: string[] = []

    const worker = backend.createWorker(
      'outbound',
      async ({ data }: { data: OutboundJob }) => {
        taken.push(data.kind === 'send' ? data.message_id : data.conversation_id)
      },
      { concurrency: 1 },
    )
    void worker.run()

    await eventually(() => expect(taken).toEqual(['4', '1', '2', '3']))
  },
)
