import { expect, test } from 'vitest'
import { createTestDatabase } from '../../support/postgres.ts'
import { findFreePort, startCli } from '../../support/processes.ts'
import { describeWithRedis, takeRedisUrl } from '../../support/redis.ts'
import { createTempDirectory } from '../../support/temp-directory.ts'

test('finds the secret, the database and every message of a service that needs no settings', async () => {
  const env = await startService({})

  const { code, report } = await simulate(env)

  expect(report).toMatchObject(EVERYTHING_ONCE)
  expect(code).toBe(0)
})

describeWithRedis('with a Redis and a PostgreSQL', () => {
  test('finds every message of the service stored once', async () => {
    const database = await createTestDatabase()
    const env = await startService({ DATABASE_URL: database.url, REDIS_URL: await takeRedisUrl() })

    const { code, report } = await simulate(env)

    expect(report).toMatchObject(EVERYTHING_ONCE)
    expect(code).toBe(0)
  })
})

const EVERYTHING_ONCE = { ok: true, sent: 390, acknowledged: 390, stored: 390, doubled: 0, lost: 0 }

/** Resolves with the environment in which every other command finds the service. */
async function startService(settings: Record<string, string>) {
  const env = { DATA_DIR: createTempDirectory(), PORT: String(await findFreePort()), ...settings }
  const service = startCli(['start'], { env })
  await service.waitForOutput(/wa-ingest is ready/, { timeoutMs: 50_000 })
  return env
}

async function simulate(env: Record<string, string>) {
  const child = startCli(['simulate', '--messages', '300', '--redeliveries', '0.5', '--json'], { env })
  const { code } = await child.ended
  return { code, report: JSON.parse(child.stdout) }
}
