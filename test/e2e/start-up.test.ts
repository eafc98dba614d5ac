/** Stores and secrets that are missing, weak or unsafe: the process does not start, or it reports them. */
import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { runCommand } from '../cli/run-command.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { basicAuth, send } from '../support/http.ts'
import { createEmptyDatabase, createTestDatabase } from '../support/postgres.ts'
import { findFreePort, startCli } from '../support/processes.ts'
import { describeWithRedis, startRedisServer } from '../support/redis.ts'
import { ADMIN_PASSWORD, startService } from '../support/service.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const INDEX = 'idx_chat_messages_wa_message_id_unique'
const MIGRATIONS = 'wa_ingest_migrations'
/** Runs in the process of the test, whose output is that of the test run. */
const QUIET = { PORT: '0', LOG_LEVEL: 'silent' }

describe('a receiver does not start', () => {
  test.each([
    ['without the index', `DROP INDEX ${INDEX}`, /wa_message_id[\s\S]*npx wa-ingest dedupe --apply/],
    [
      'with an invalid index',
      `UPDATE pg_index SET indisvalid = false WHERE indexrelid = '${INDEX}'::regclass`,
      /npx wa-ingest dedupe --apply/,
    ],
    [
      'on a database that lacks a migration',
      `DELETE FROM ${MIGRATIONS} WHERE name = (SELECT max(name) FROM ${MIGRATIONS})`,
      /lacks the migration \d{4}-[\s\S]*npx wa-ingest migrate/,
    ],
    [
      'on a database of a later version',
      `INSERT INTO ${MIGRATIONS} (name, timestamp) VALUES ('9999-later', now()::text)`,
      /newer than this version of wa-ingest: it has the migration 9999-later; run the version/,
    ],
  ])('%s', async (_what, statement, reason) => {
    const database = await createTestDatabase()
    await database.pool.query(statement)

    const { code, stderr } = await runCommand(['api'], { ...QUIET, DATABASE_URL: database.url })

    expect(code).toBe(1)
    expect(stderr).toMatch(reason)
  })

  test('on a database that was never migrated', async () => {
    const { url } = await createEmptyDatabase()

    const { code, stderr } = await runCommand(['api'], { ...QUIET, DATABASE_URL: url })

    expect(code).toBe(1)
    expect(stderr).toMatch(/no wa-ingest tables; run: npx wa-ingest migrate/)
  })

  test('behind a pooler without DATABASE_DIRECT_URL', async () => {
    const { code, stderr } = await runCommand(['api'], { ...QUIET, DATABASE_URL: await startPooler() })

    expect(code).toBe(1)
    expect(stderr).toMatch(/pooler[\s\S]*set DATABASE_DIRECT_URL/)
  })

  test('with weak secrets where others can reach it, and names all of them', async () => {
    const { code, stderr } = await runCommand(['api'], {
      NODE_ENV: 'production',
      DATABASE_URL: 'postgres://127.0.0.1:1/x',
      META_APP_SECRET: 'changeme-changeme',
      META_VERIFY_TOKEN: 'our-verify-words',
      ADMIN_PASSWORD: 'Password2026',
      API_TOKENS: 'token',
    })

    expect(code).toBe(1)
    for (const name of ['META_APP_SECRET', 'ADMIN_PASSWORD', 'API_TOKENS']) expect(stderr).toContain(name)
    expect(stderr).not.toMatch(/changeme-|Password2026/)
  })
})

describe('a receiver that runs', () => {
  test('is not ready when its tables are older than the release or its index is missing, and tells the admin why', async () => {
    const { url, database } = await startService({ backend: 'postgres', workers: 0 })
    const ready = () => send(`${url}/health/ready`, { headers: basicAuth('admin', ADMIN_PASSWORD) })
    const failed = (name: string) =>
      expect.objectContaining({ name, ok: false, findings: [expect.stringContaining('npx wa-ingest')] })
    expect((await ready()).status).toBe(200)

    await database.pool.query(`DELETE FROM ${MIGRATIONS}`)
    await eventually(async () => expect((await ready()).status).toBe(503))
    expect((await ready()).json()).toMatchObject({ checks: expect.arrayContaining([failed('schema')]) })

    await database.pool.query(`DROP INDEX ${INDEX}`)
    await eventually(async () =>
      expect((await ready()).json()).toMatchObject({ checks: expect.arrayContaining([failed('index')]) }),
    )
  })

  test('behind a proxy without TRUST_PROXY reports that in the log and to the admin', async () => {
    const { url, api } = await startService({
      backend: 'postgres',
      workers: 0,
      env: { PUBLIC_URL: 'https://wa.example.com' },
    })

    const ready = await send(`${url}/health/ready`, { headers: basicAuth('admin', ADMIN_PASSWORD) })

    expect(api.output).toContain('TRUST_PROXY is not set')
    expect(ready.json()).toMatchObject({
      status: 'ok',
      checks: expect.arrayContaining([
        expect.objectContaining({
          name: 'configuration',
          ok: true,
          findings: [expect.stringContaining('TRUST_PROXY is not set')],
        }),
      ]),
    })
  })

  test('behind a pooler with DATABASE_DIRECT_URL sends no time-outs, and reports what is missing', async () => {
    const database = await createTestDatabase()
    const direct = new URL(database.url)
    direct.searchParams.set('application_name', 'direct')
    const api = startCli(['api'], {
      env: {
        ...(await ownPlaces()),
        DATABASE_URL: database.url,
        DATABASE_DIRECT_URL: direct.href,
        ADMIN_PASSWORD,
      },
    })
    await api.waitForOutput(/"msg":"ready"/)

    expect(api.output).toContain('postgresql statement_timeout is 0')
    expect(api.output).toContain('postgresql idle_in_transaction_session_timeout is 0')
    expect(api.output).toContain('docs/startup-checks.md')
  })
})

describeWithRedis('a receiver on a Redis that can lose messages', () => {
  test('starts, names every unsafe setting with the next step, in the log and to the admin, and counts them', async () => {
    const redis = await startRedisServer({
      args: [
        '--appendonly',
        'no',
        '--maxmemory',
        '0',
        '--maxmemory-policy',
        'allkeys-lru',
        '--no-appendfsync-on-rewrite',
        'yes',
      ],
    })
    const database = await createTestDatabase()
    const env = await ownPlaces()
    const api = startCli(['api'], {
      env: { ...env, DATABASE_URL: database.url, REDIS_URL: redis.url, ADMIN_PASSWORD },
    })
    await api.waitForOutput(/"msg":"ready"/)
    const ask = (path: string) =>
      send(`http://127.0.0.1:${env.PORT}${path}`, { headers: basicAuth('admin', ADMIN_PASSWORD) })

    const response = await ask('/health/ready')

    expect(response.status).toBe(200)
    for (const setting of ['appendonly', 'no-appendfsync-on-rewrite', 'maxmemory', 'maxmemory-policy']) {
      const finding = new RegExp(`redis ${setting} is \\S+, expected [^:]+: [^"]+set `)
      expect(api.output).toMatch(finding)
      expect(response.text).toMatch(finding)
    }
    expect(
      Number(/^wa_ingest_unsafe_settings (\d+)/m.exec((await ask('/metrics')).text)?.[1]),
    ).toBeGreaterThanOrEqual(4)
  })
})

async function ownPlaces() {
  return { PORT: String(await findFreePort()), DATA_DIR: createTempDirectory() }
}

/** Answers an unknown start-up parameter as PgBouncer 1.18 does. */
async function startPooler(): Promise<string> {
  const fields = ['SFATAL', 'C08P01', 'Munsupported startup parameter: statement_timeout', '']
  const body = Buffer.from(`${fields.join('\0')}\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeInt32BE(body.length + 4, 1)
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(Buffer.concat([head, body])))
  })
  const port = await findFreePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  cleanUp(() => server.close())
  return `postgres://wa@127.0.0.1:${port}/wa`
}
