import path from 'node:path'
import { expect, test } from 'vitest'
import { lockFile } from '../../src/local/file-lock.ts'
import { type CapturedProcess, startProcess } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const MODULE = path.resolve(import.meta.dirname, '../../src/local/file-lock.ts')

test('a lock has one holder at a time', () => {
  const file = path.join(createTempDirectory(), 'lock')

  const first = lockFile(file)
  expect(first).toBeDefined()
  expect(lockFile(file)).toBeUndefined()

  first?.release()
  expect(lockFile(file)).toBeDefined()
})

test('a lock ends with the process that has it, even by kill -9', async () => {
  const file = path.join(createTempDirectory(), 'lock')
  const holder = await startHolder(file)
  expect(lockFile(file)).toBeUndefined()

  holder.kill('SIGKILL')
  await holder.ended

  expect(lockFile(file)).toBeDefined()
})

test('a lock lasts until its process ends, although nothing refers to it', async () => {
  const file = path.join(createTempDirectory(), 'lock')
  const holder = await startHolder(file)

  holder.kill('SIGUSR2')
  await holder.waitForOutput(/collected/)

  expect(lockFile(file)).toBeUndefined()
})

test('a lock that cannot be made names the file', () => {
  expect(() => lockFile('/nonexistent/lock')).toThrow('/nonexistent/lock cannot be written')
})

/** Throws the lock away, and collects garbage on SIGUSR2. */
async function startHolder(file: string): Promise<CapturedProcess> {
  const script = `
    import { lockFile } from '${MODULE}'
    lockFile('${file}')
    process.on('SIGUSR2', () => { gc(); console.log('collected') })
    console.log('held')
    setInterval(() => {}, 1e6)`
  const holder = startProcess(process.execPath, ['--expose-gc', '--input-type=module', '-e', script])
  await holder.waitForOutput(/held/)
  return holder
}
