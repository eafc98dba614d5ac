import { once } from 'node:events'
import { statSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { createPool } from '../../src/db/connect.ts'
import { checkPostgresSafety } from '../../src/db/postgres-safety.ts'
import { findEmbeddedPostgresUrl, openEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { prepareHome } from '../../src/local/postgres-home.ts'
import { findPostgresPackage } from '../../src/local/postgres-package.ts'
import { findRunningPostmaster, readPostmaster } from '../../src/local/postmaster.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { type CapturedProcess, findFreePort, startProcess } from '../support/processes.ts'
import { createDataDirectory, createStoppedPostgres, query, startPostgres } from './data-directory.ts'

const OWNER = path.join(import.meta.dirname, 'run-embedded-postgres.ts')

describe('the embedded PostgreSQL', () => {
  test('finds the data of the last start, at the same URL', async () => {
    const dataDir = createDataDirectory()

    const first = await startPostgres(dataDir)
    await query(first.url, `CREATE TABLE kept AS SELECT 'text' AS value`)
    await first.stop()
    const second = await startPostgres(dataDir)

    expect(await query(second.url, 'SELECT value FROM kept')).toEqual([{ value: 'text' }])
    expect(second.url).toBe(first.url)
  })

  test('writes to disk before it answers, and listens on loopback alone', async () => {
    const { dataDir } = await createStoppedPostgres()
    const { url } = await startPostgres(dataDir)

    const settings = await query(
      url,
      `SELECT name, setting FROM pg_settings WHERE name IN
         ('fsync', 'synchronous_commit', 'full_page_writes', 'listen_addresses', 'unix_socket_directories') ORDER BY name`,
    )

    expect(Object.fromEntries(settings.map((row) => [row.name, row.setting]))).toEqual({
      fsync: 'on',
      full_page_writes: 'on',
      listen_addresses: '127.0.0.1',
      synchronous_commit: 'on',
      unix_socket_directories: '',
    })
    expect(await findUnsafeSettings(url)).toEqual([])
  })

  test('asks for its password, which only its owner can read', async () => {
    const { dataDir } = await createStoppedPostgres()
    const { url } = await startPostgres(dataDir)
    const wrong = new URL(url)
    wrong.password = 'wrong'

    await expect(query(wrong.href, 'SELECT 1')).rejects.toThrow(/password authentication failed/)
    expect(statSync(path.join(dataDir, 'postgres', 'connection.json')).mode & 0o777).toBe(0o600)
  })

  test('stops within 3 s although clients run statements', async () => {
    const { dataDir } = await createStoppedPostgres()
    const postgres = await startPostgres(dataDir)
    const client = new pg.Client(postgres.url)
    client.on('error', () => {})
    await client.connect()
    await client.query('BEGIN')
    const sleeping = client.query('SELECT pg_sleep(60)').catch((err) => err)

    const startedAt = Date.now()
    await Promise.all([postgres.stop(), postgres.stop()])

    expect(Date.now() - startedAt).toBeLessThan(3000)
    expect(await sleeping).toBeInstanceOf(Error)
  })

  test('starts again on the same port when the server is killed', async () => {
    const { dataDir } = await createStoppedPostgres()
    const logged: string[] = []
    const { url } = await startPostgres(dataDir, (line) => logged.push(line))

    process.kill(serverPid(dataDir), 'SIGKILL')

    await eventually(async () => expect(await query(url, 'SELECT value FROM kept')).toEqual([{ value: 1 }]))
    expect(logged.join()).toContain('ended by itself (SIGKILL)')
  })

  test('takes another port when another program listens on the port of the last start', async () => {
    const { dataDir } = await createStoppedPostgres()
    const first = await startPostgres(dataDir)
    await first.stop()
    const other = createServer()
    cleanUp(() => other.close())
    await once(other.listen(Number(new URL(first.url).port), '127.0.0.1'), 'listening')

    const second = await startPostgres(dataDir)

    expect(new URL(second.url).port).not.toBe(new URL(first.url).port)
    expect(await query(second.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })
})

describe('the process that owns the embedded PostgreSQL', () => {
  test('ends the server when it is killed, and the next start has everything that was committed', async () => {
    const { dataDir } = await createStoppedPostgres()
    const owner = await startOwner(dataDir)
    await query(owner.url, 'INSERT INTO kept VALUES (2)')
    const data = path.join(dataDir, 'postgres', 'data')

    owner.kill('SIGKILL')
    await owner.ended
    await eventually(() => expect(findRunningPostmaster(data)).toBeUndefined())

    const next = await startPostgres(dataDir)
    expect(await query(next.url, 'SELECT value FROM kept')).toEqual([{ value: 1 }, { value: 2 }])
  })

  test('can be killed and started again at once', async () => {
    const { dataDir } = await createStoppedPostgres()
    const owner = await startOwner(dataDir)

    owner.kill('SIGKILL')
    await owner.ended
    const next = await startPostgres(dataDir)

    expect(await query(next.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('stops a server that was left behind, and starts its own', async () => {
    const { dataDir } = await createStoppedPostgres()
    const leftBehind = await startServerWithoutOwner(dataDir)
    const logged: string[] = []

    const next = await startPostgres(dataDir, (line) => logged.push(line))

    expect(await leftBehind.ended).toEqual({ code: 0, signal: null })
    expect(logged.join()).toContain('an earlier run has left behind')
    expect(await query(next.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('is the only one on its data: a second is refused and does not disturb it', async () => {
    const { dataDir } = await createStoppedPostgres()
    const owner = await startOwner(dataDir)
    const pid = serverPid(dataDir)

    const second = startProcess(process.execPath, [OWNER, dataDir])

    expect(await second.ended).toEqual({ code: 1, signal: null })
    expect(second.stderr).toContain(
      `The embedded PostgreSQL in ${dataDir} is in use by another running wa-ingest`,
    )
    expect(serverPid(dataDir)).toBe(pid)
    expect(await query(owner.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('is the only one when two start at the same moment on new data', async () => {
    const dataDir = createDataDirectory()

    const starts = await Promise.allSettled([startPostgres(dataDir), startPostgres(dataDir)])

    expect(starts.map((start) => start.status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  test('alone receives Ctrl-C from the terminal', async () => {
    const { dataDir } = await createStoppedPostgres()
    const owner = await startOwner(dataDir)

    process.kill(-owner.pid, 'SIGINT')
    await owner.waitForOutput(/interrupted/)

    expect(await query(owner.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(await owner.stop()).toEqual({ code: 0, signal: null })
  })
})

describe('a command beside the service', () => {
  test('uses the server that is running, and leaves it running', async () => {
    const { dataDir } = await createStoppedPostgres()
    const owner = await startOwner(dataDir)

    const opened = await openEmbeddedPostgres({ dataDir })
    await opened.stop()

    expect(opened.url).toBe(owner.url)
    expect(await query(owner.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('starts the server where none is running, and stops it again', async () => {
    const { dataDir } = await createStoppedPostgres()

    const opened = await openEmbeddedPostgres({ dataDir })
    expect(findEmbeddedPostgresUrl(dataDir)).toBe(opened.url)
    await opened.stop()

    expect(findEmbeddedPostgresUrl(dataDir)).toBeUndefined()
  })
})

/** In the service's own view, apart from the index that a database without tables lacks. */
async function findUnsafeSettings(url: string): Promise<string[]> {
  // The service's pool: it survives connections that the server ends while the pool is letting go of them.
  const pool = createPool({ url, applicationName: 'test' })
  try {
    const findings = await checkPostgresSafety(pool)
    return findings.map(({ setting }) => setting).filter((setting) => !setting.includes('unique index'))
  } finally {
    await pool.end()
  }
}

async function startOwner(dataDir: string): Promise<CapturedProcess & { url: string }> {
  const owner = startProcess(process.execPath, [OWNER, dataDir])
  const [, url = ''] = await owner.waitForOutput(/^ready (.*)$/m)
  return Object.assign(owner, { url })
}

/** What remains after kill -9 of the owner and of the tether. */
async function startServerWithoutOwner(dataDir: string): Promise<CapturedProcess> {
  const home = prepareHome(dataDir, findPostgresPackage(), () => {})
  const { data } = home
  const settings = ['-c', `port=${await findFreePort()}`, '-c', 'unix_socket_directories=']
  const postgres = path.join(home.native, 'bin', 'postgres')
  const server = startProcess(postgres, ['-D', data, ...settings], { runAs: home.runAs })
  await eventually(() => expect(readPostmaster(data)?.isReady).toBe(true))
  return server
}

function serverPid(dataDir: string): number {
  return readPostmaster(path.join(dataDir, 'postgres', 'data'))?.pid ?? 0
}
