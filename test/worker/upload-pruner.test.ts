import { existsSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { createUploadPruner } from '../../src/worker/upload-pruner.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { storeFile } from '../support/uploads.ts'

test('removes unused uploads and the files of dead processes, and nothing else', async () => {
  const { db, pool } = await createTestDatabase()
  const uploadFolder = createTempDirectory()
  const used = await storeFile({ db, uploadFolder }, 'used')
  const unused = await storeFile({ db, uploadFolder }, 'unused')
  await pool.query(`UPDATE uploads SET expires_at = now() - interval '1 second' WHERE id = $1`, [unused.id])
  const leave = (name: string, ageHours: number) => {
    const file = path.join(uploadFolder, name)
    writeFileSync(file, name)
    const then = new Date(Date.now() - ageHours * 3600_000)
    utimesSync(file, then, then)
  }
  leave('11111111-1111-4111-8111-111111111111', 25)
  leave('22222222-2222-4222-8222-222222222222.part', 25)
  leave('33333333-3333-4333-8333-333333333333.part', 1)
  leave('44444444-4444-4444-8444-444444444444', 1)
  leave('notes.txt', 25)
  utimesSync(used.file, new Date(0), new Date(0))

  expect(await createUploadPruner({ db, uploadFolder }).runOnce()).toBe(3)

  expect(existsSync(used.file)).toBe(true)
  expect(readdirSync(uploadFolder).sort()).toEqual(
    [
      used.id,
      '33333333-3333-4333-8333-333333333333.part',
      '44444444-4444-4444-8444-444444444444',
      'notes.txt',
    ].sort(),
  )
  expect((await pool.query('SELECT id FROM uploads')).rows).toEqual([{ id: used.id }])
})

test('a missing folder counts as empty', async () => {
  const { db } = await createTestDatabase()
  const uploadFolder = path.join(createTempDirectory(), 'uploads')

  expect(await createUploadPruner({ db, uploadFolder }).runOnce()).toBe(0)
})
