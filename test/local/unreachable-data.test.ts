import { chmodSync, cpSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { prepareHome } from '../../src/local/postgres-home.ts'
import { findPostgresPackage } from '../../src/local/postgres-package.ts'
import { cleanUp } from '../support/clean-up.ts'
import { createDataDirectory, createStoppedPostgres, query, startPostgres } from './data-directory.ts'

const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('as root, where the user of PostgreSQL cannot enter', () => {
  test('the data is in another place, which DATA_DIR links to and later starts find', async () => {
    const dataDir = createDataDirectory(0o700)
    const logged: string[] = []

    const first = await startPostgres(dataDir, (line) => logged.push(line))
    await query(first.url, 'CREATE TABLE kept AS SELECT 1 AS value')
    await first.stop()
    const home = realpathSync(path.join(dataDir, 'postgres'))
    const second = await startPostgres(dataDir, (line) => logged.push(line))

    expect(home).toMatch(/^\/var\/lib\/wa-ingest\/data-/)
    expect(await query(second.url, 'SELECT value FROM kept')).toEqual([{ value: 1 }])
    expect(logged).toEqual([expect.stringContaining(`so PostgreSQL's data is in ${home}`)])
  })

  test('later starts find the data when the user has got access in the meantime', async () => {
    const dataDir = createDataDirectory(0o700)
    const first = await startPostgres(dataDir)
    await query(first.url, 'CREATE TABLE kept AS SELECT 1 AS value')
    await first.stop()

    chmodSync(dataDir, 0o755)
    const second = await startPostgres(dataDir)

    expect(await query(second.url, 'SELECT value FROM kept')).toEqual([{ value: 1 }])
  })

  test('existing data is not replaced: the start fails and says what to do', async () => {
    const { dataDir } = await createStoppedPostgres()

    chmodSync(dataDir, 0o700)

    await expect(startPostgres(dataDir)).rejects.toThrow(/cannot be reached by user .*chmod o\+x/)
    expect(readdirSync(path.join(dataDir, 'postgres'))).toContain('data')
  })

  test('only the data belongs to that user, so it cannot replace files that root writes', async () => {
    const dataDir = createDataDirectory()

    await startPostgres(dataDir)

    const home = path.join(dataDir, 'postgres')
    expect(statSync(home)).toMatchObject({ uid: 0, mode: 0o40755 })
    expect(statSync(path.join(home, 'data')).uid).not.toBe(0)
    expect(statSync(path.join(home, 'connection.json'))).toMatchObject({ uid: 0, mode: 0o100600 })
  })

  test('an empty directory made beforehand is used', async () => {
    const dataDir = createDataDirectory()
    mkdirSync(path.join(dataDir, 'postgres'))

    const { url } = await startPostgres(dataDir)

    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(lstatSync(path.join(dataDir, 'postgres')).isDirectory()).toBe(true)
  })

  test('the binaries are copied once to where that user can run them', () => {
    const installed = findPostgresPackage()
    const hidden = createDataDirectory(0o700)
    cpSync(installed.native, path.join(hidden, 'native'), { recursive: true, verbatimSymlinks: true })
    const unreachable = {
      ...installed,
      native: path.join(hidden, 'native'),
      version: `18.0.0-test-${process.pid}`,
    }
    const copy = `/var/lib/wa-ingest/postgresql-${unreachable.version}`
    cleanUp(() => rmSync(copy, { recursive: true, force: true }))
    const logged: string[] = []
    const umask = process.umask(0o077)
    cleanUp(() => process.umask(umask))

    const homes = [1, 2].map(() =>
      prepareHome(createDataDirectory(), unreachable, (line) => logged.push(line)),
    )

    expect(homes.map((home) => home.native)).toEqual([copy, copy])
    expect(logged).toEqual([expect.stringContaining(`PostgreSQL runs from a copy in ${copy}`)])
  })
})
