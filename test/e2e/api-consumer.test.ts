/** Runs the consumer of docs/api.md, unchanged, against the real service. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { metaMessagesWebhook, metaStatusWebhook, metaTextWebhook, wamid } from '../support/meta-webhooks.ts'
import { type CapturedProcess, PROJECT, startProcess } from '../support/processes.ts'
import { hasRedis } from '../support/redis.ts'
import { startService, type TestService } from '../support/service.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const TOKEN = 'token-of-the-consumer'
const [CODE = ''] =
  /(?<=^```js\n).*?(?=^```$)/ms.exec(readFileSync(path.join(PROJECT, 'docs/api.md'), 'utf8')) ?? []

// The feed is in PostgreSQL, wherever the queue is.
test('misses nothing while the consumer, the api and the worker are killed and restarted', async () => {
  const service = await startService({ backend: hasRedis ? 'redis' : 'postgres', env: { API_TOKENS: TOKEN } })
  const directory = createTempDirectory()
  writeFileSync(path.join(directory, 'consumer.mjs'), CODE)
  let consumer = startConsumer(service, directory)
  const traffic = startTraffic(service)

  await eventually(() => expect(readCopy(directory).size).toBeGreaterThan(10))
  consumer.kill()
  await traffic.waitFor(40)
  service.api.kill()
  await service.api.ended
  consumer = startConsumer(service, directory)
  const api = await service.startApi()
  await traffic.waitFor(80)
  service.workers[0]?.kill()
  await service.startWorker()
  await api.stop()
  await service.startApi()
  await traffic.waitFor(120)
  await traffic.stop()

  // Jobs that a killed worker had reserved are stored last, when their locks have expired.
  await eventually(
    async () => {
      const stored = await readStored(service)
      expect([...stored.keys()]).toEqual(expect.arrayContaining(traffic.acknowledged))
      expect(readCopy(directory)).toEqual(stored)
    },
    { timeoutMs: 60_000 },
  )
  const copy = readCopy(directory)
  expect(copy.size).toBeGreaterThanOrEqual(120)
  expect(new Set(copy.values())).toContain('read')
  await consumer.stop()
}, 180_000)

function startConsumer(service: TestService, directory: string): CapturedProcess {
  return startProcess(process.execPath, ['consumer.mjs'], {
    cwd: directory,
    env: { WA_INGEST_URL: service.url, WA_INGEST_TOKEN: TOKEN },
  })
}

/** The status of each message that the consumer has stored, by wa_message_id. */
function readCopy(directory: string): Map<string, string | null> {
  const messages = path.join(directory, 'messages')
  const files = readdirSync(messages).filter((file) => file.endsWith('.json'))
  return new Map(
    files.map((file) => {
      const message = JSON.parse(readFileSync(path.join(messages, file), 'utf8'))
      return [message.wa_message_id, message.status]
    }),
  )
}

async function readStored({ database }: TestService): Promise<Map<string, string | null>> {
  const { rows } = await database.pool.query('SELECT wa_message_id, status FROM chat_messages')
  return new Map(rows.map((row) => [row.wa_message_id, row.status]))
}

/** Sends texts and echoes with their statuses, one webhook after the other; a refused webhook is sent again. */
function startTraffic(service: TestService) {
  const acknowledged: string[] = []
  let isRunning = true
  const deliver = async (body: string) => {
    while (isRunning || acknowledged.length === 0) {
      const status = await service.deliver(body).then(
        (response) => response.status,
        () => 0,
      )
      if (status === 200) return true
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return false
  }
  const run = async () => {
    while (isRunning) {
      const [text, echo] = [wamid(), wamid()]
      if (await deliver(metaTextWebhook({ id: text }))) acknowledged.push(text)
      if (await deliver(echoWebhook(echo))) acknowledged.push(echo)
      await deliver(metaStatusWebhook({ id: echo, status: 'read' }))
    }
  }
  const running = Promise.all([run(), run()])
  return {
    acknowledged,
    waitFor: (count: number) => eventually(() => expect(acknowledged.length).toBeGreaterThanOrEqual(count)),
    stop: async () => {
      isRunning = false
      await running
    },
  }
}

function echoWebhook(id: string): string {
  const body = JSON.stringify(
    metaMessagesWebhook([{ id, from: '15550009999', to: '15551230001', type: 'text' }]),
  )
  return body
    .replace('"field":"messages"', '"field":"smb_message_echoes"')
    .replace('"messages":', '"message_echoes":')
}
