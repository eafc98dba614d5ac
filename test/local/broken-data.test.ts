import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { findUnprivilegedUser } from '../../src/local/unprivileged-user.ts'
import { startProcess } from '../support/processes.ts'
import { createDataDirectory, createStoppedPostgres, query, startPostgres } from './data-directory.ts'

const OWNER = path.join(import.meta.dirname, 'run-embedded-postgres.ts')

describe('a start on data that cannot be used', () => {
  test('says so when another major version made it', async () => {
    const { dataDir, data } = await createStoppedPostgres()
    writeFileSync(path.join(data, 'PG_VERSION'), '15\n')

    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(
      /was made by PostgreSQL 15, and this version of wa-ingest brings 18: .*pg_dump/,
    )
  })

  test('says so when it is not the data of a PostgreSQL server', async () => {
    const { dataDir, data } = await createStoppedPostgres()
    rmSync(path.join(data, 'PG_VERSION'))

    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(
      /is not the data of a PostgreSQL server .*move it away/,
    )
  })

  test("says what PostgreSQL says when the data is damaged, and where PostgreSQL's log is", async () => {
    const { dataDir, data } = await createStoppedPostgres()
    rmSync(path.join(data, 'global', 'pg_control'))

    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(
      /does not start: .*could not find the database system.* \(its log: .*postgres\.log\)/,
    )
  })

  test('says so when the place that DATA_DIR links to is gone', async () => {
    const dataDir = createDataDirectory()
    symlinkSync('/nonexistent/wa-ingest', path.join(dataDir, 'postgres'))

    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(
      /points to \/nonexistent\/wa-ingest, which is gone: bring that directory back/,
    )
  })

  test('says so when a file is where the data directory should be', async () => {
    const file = path.join(createDataDirectory(), 'file')
    writeFileSync(file, '')

    await expect(startEmbeddedPostgres({ dataDir: file })).rejects.toThrow(
      /The data directory .*\/file cannot be made \(EEXIST.*\): set DATA_DIR to another one/,
    )
  })

  test('works at once when the fault has been removed', async () => {
    const { dataDir, data } = await createStoppedPostgres()
    writeFileSync(path.join(data, 'PG_VERSION'), '15\n')
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(/was made by PostgreSQL 15/)

    writeFileSync(path.join(data, 'PG_VERSION'), '18\n')

    const { url } = await startPostgres(dataDir)
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })
})

describe('a start that finds something missing', () => {
  test('opens the data with a new password when the file with the old one is lost', async () => {
    const { dataDir } = await createStoppedPostgres()
    rmSync(path.join(dataDir, 'postgres', 'connection.json'))

    const { url } = await startPostgres(dataDir)

    expect(await query(url, 'SELECT value FROM kept')).toEqual([{ value: 1 }])
  })

  test('is not misled by a postmaster.pid that names a process of another program', async () => {
    const { dataDir, data } = await createStoppedPostgres()
    const other = startProcess('sleep', ['600'], { runAs: findUnprivilegedUser() })
    writeFileSync(path.join(data, 'postmaster.pid'), `${other.pid}\n${data}\n1700000000\n5432\n\n\n\n`)

    const { url } = await startPostgres(dataDir)

    expect(await query(url, 'SELECT value FROM kept')).toEqual([{ value: 1 }])
    expect(readFileSync(`/proc/${other.pid}/cmdline`, 'utf8')).toContain('sleep')
  })
})

describe('a start that cannot make its data', () => {
  test('says why in one line, and leaves nothing that looks like data', async () => {
    const dataDir = createDataDirectory()
    // Every file may be 100 KiB at most, which fails as a full disk does: in the middle of initdb.
    const limited = ['-c', 'ulimit -f 200; exec "$@"', 'sh', process.execPath, OWNER, dataDir]

    const owner = startProcess('/bin/sh', limited)

    expect(await owner.ended).toEqual({ code: 1, signal: null })
    expect(owner.stderr.trim().split('\n')).toHaveLength(1)
    expect(owner.stderr).toMatch(/The embedded PostgreSQL could not be created in .*: .*File too large/)
    const { url } = await startPostgres(dataDir)
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })
})
