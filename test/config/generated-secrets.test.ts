import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { readOrCreateSecrets } from '../../src/config/generated-secrets.ts'

const MODULE = pathToFileURL('src/config/generated-secrets.ts').href
const MAKERS = { META_APP_SECRET: randomUUID, ADMIN_PASSWORD: randomUUID }

test('the file can be read by its owner alone, and nothing else is left beside it', () => {
  const folder = temporaryFolder()

  const { file } = readOrCreateSecrets(folder, MAKERS)

  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder)).toEqual(['secrets.json'])
})

test('processes that start at once agree on the secrets', async () => {
  const folder = join(temporaryFolder(), 'not', 'there', 'yet')

  const printed = await Promise.all(Array.from({ length: 4 }, () => printSecretsInOwnProcess(folder)))

  expect(printed[0]).toContain('ADMIN_PASSWORD')
  expect(new Set(printed).size).toBe(1)
  expect(readdirSync(folder)).toEqual(['secrets.json'])
})

test.each(['', '{"META_APP_SECRET": "half', '{"META_APP_SECRET": "alone"}'])(
  'a damaged file (%j) is reported and left as it is',
  (content) => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'secrets.json'), content)

    expect(() => readOrCreateSecrets(folder, MAKERS)).toThrow(
      /^DATA_DIR has a damaged .*secrets\.json: restore it, or delete it/,
    )
  },
)

test('a folder that cannot be written gives one line with the next step', () => {
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'file'), '')
  chmodSync(folder, 0o755)

  expect(() => readOrCreateSecrets(join(folder, 'file'), MAKERS)).toThrow(
    /^DATA_DIR cannot keep .* \(ENOTDIR\): make it writable, or set .*ADMIN_PASSWORD$/,
  )
})

async function printSecretsInOwnProcess(folder: string): Promise<string> {
  const program = `
    const { randomUUID } = await import('node:crypto')
    const { readOrCreateSecrets } = await import(${JSON.stringify(MODULE)})
    const makers = { META_APP_SECRET: randomUUID, ADMIN_PASSWORD: randomUUID }
    process.stdout.write(JSON.stringify(readOrCreateSecrets(${JSON.stringify(folder)}, makers)))`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [printed] = await Promise.all([text(child.stdout), once(child, 'exit')])
  return printed
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wa-ingest-secrets-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
