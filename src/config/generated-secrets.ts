/**
 * Secrets for a first try: made once, kept in `secrets.json` (readable by the owner alone), the same for every process.
 *
 * The file appears complete or not at all, and never changes: it is written under another name and linked into place,
 * which fails if somebody else was faster. So processes that start at once all read the same secrets.
 */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { ConfigError } from './config-error.ts'

const secretsFile = z.object({
  META_APP_SECRET: z.string().min(1),
  META_VERIFY_TOKEN: z.string().min(1),
  TWILIO_AUTH_TOKEN: z.string().min(1),
  ADMIN_PASSWORD: z.string().min(1),
})

export type GeneratedSecrets = z.output<typeof secretsFile>
export const GENERATED_NAMES = Object.keys(secretsFile.shape) as (keyof GeneratedSecrets)[]

/** File systems without hard links (FAT, some shared folders) answer one of these. */
const NO_HARD_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']

/**
 * The generated secrets of this data folder; makes both at the first call.
 * @throws ConfigError when the folder cannot be written, or the file is not what was written.
 */
export function readOrCreateSecrets(dataDir: string): GeneratedSecrets & { file: string } {
  const file = join(dataDir, 'secrets.json')
  try {
    return { ...(read(file) ?? create(file, dataDir)), file }
  } catch (err) {
    if (err instanceof ConfigError) throw err
    const reason = codeOf(err) ?? String(err)
    throw new ConfigError(
      [
        `DATA_DIR cannot keep the generated secrets in ${file} (${reason}): make it writable, or set ${GENERATED_NAMES.join(', ')}`,
      ],
      { cause: err },
    )
  }
}

function read(file: string): GeneratedSecrets | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return undefined
    throw err
  }
  const parsed = secretsFile.safeParse(parseJson(text))
  if (parsed.success) return parsed.data
  throw new ConfigError([
    `DATA_DIR has a damaged ${file}: restore it, or delete it and the next start makes new secrets`,
  ])
}

function create(file: string, dataDir: string): GeneratedSecrets {
  mkdirSync(dataDir, { recursive: true })
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    writeDurably(draft, `${JSON.stringify(generate(), null, 2)}\n`)
    publish(draft, file)
  } finally {
    rmSync(draft, { force: true })
  }
  const secrets = read(file)
  if (secrets === undefined) throw new Error('the file vanished')
  return secrets
}

function generate(): GeneratedSecrets {
  return {
    META_APP_SECRET: randomBytes(16).toString('hex'),
    META_VERIFY_TOKEN: randomBytes(18).toString('base64url'),
    TWILIO_AUTH_TOKEN: randomBytes(16).toString('hex'),
    ADMIN_PASSWORD: randomBytes(15).toString('base64url'),
  }
}

function writeDurably(file: string, text: string): void {
  const descriptor = openSync(file, 'wx', 0o600)
  try {
    writeSync(descriptor, text)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function publish(draft: string, file: string): void {
  try {
    linkSync(draft, file)
  } catch (err) {
    if (codeOf(err) === 'EEXIST') return
    if (!NO_HARD_LINKS.includes(codeOf(err) ?? '')) throw err
    copyUnlessThere(draft, file)
  }
}

function copyUnlessThere(draft: string, file: string): void {
  try {
    copyFileSync(draft, file, constants.COPYFILE_EXCL)
  } catch (err) {
    if (codeOf(err) !== 'EEXIST') throw err
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function codeOf(err: unknown): string | undefined {
  return err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : undefined
}
