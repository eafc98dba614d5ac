import path from 'node:path'
import { expect, test } from 'vitest'
import { lockFile } from '../../src/local/file-lock.ts'
import { startProcess } from '../support/processes.ts'
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

test('a lock falls with the process that holds it, even by kill -9', async () => {
  const file = path.join(createTempDirectory(), 'lock')
  const script = `import { lockFile } from '${MODULE}'; lockFile('${file}'); console.log('held'); setInterval(() => {}, 1e6)`
  const holder = startProcess(process.execPath, ['--input-type=module', '-e', script])
  await holder.waitForOutput(/held/)
  expect(lockFile(file)).toBeUndefined()

  holder.kill('SIGKILL')
  await holder.ended

  expect(lockFile(file)).toBeDefined()
})

test('a lock that cannot be made says where', () => {
  expect(() => lockFile('/nonexistent/lock')).toThrow('/nonexistent/lock cannot be written')
})
