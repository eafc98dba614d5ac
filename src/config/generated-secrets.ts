/**
 * Secrets for a first try: generated once and kept in `secrets.json`, which only its owner can read.
 *
 * The file appears complete or not at all, and never changes: it is written under another name and then linked, and the link
 * fails when another process was faster. So processes that start at the same time read the same secrets.
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

/** By the names of the variables. */
export type GeneratedSecrets = Readonly<Record<string, string>>
/** What makes each of them. */
export type SecretMakers = Readonly<Record<string, () => string>>

/** Errors of file systems without hard links (FAT, some shared folders). */
const NO_HARD_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']

/**
 * Reads the generated secrets of this data folder; the first call creates the folder and the file.
 * @throws ConfigError when the folder cannot be written, or the file is damaged.
 */
export function readOrCreateSecrets(
  dataDir: string,
  makers: SecretMakers,
): { file: string; secrets: GeneratedSecrets } {
  const file = join(dataDir, 'secrets.json')
  try {
    return { secrets: read(file, makers) ?? create(file, dataDir, makers), file }
  } catch (err) {
    if (err instanceof ConfigError) throw err
    const reason = codeOf(err) ?? String(err)
    throw new ConfigError(
      [
        `DATA_DIR cannot keep the generated secrets in ${file} (${reason}): make it writable, or set ${Object.keys(makers).join(', ')}`,
      ],
      { cause: err },
    )
  }
}

function read(file: string, makers: SecretMakers): GeneratedSecrets | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return undefined
    throw err
  }
  const parsed = fileFormat(makers).safeParse(parseJson(text))
  if (parsed.success) return parsed.data
  throw new ConfigError([
    `DATA_DIR has a damaged ${file}: restore it, or delete it and the next start makes new secrets`,
  ])
}

function fileFormat(makers: SecretMakers): z.ZodType<GeneratedSecrets> {
  return z.object(mapValues(makers, () => z.string().min(1)))
}

function create(file: string, dataDir: string, makers: SecretMakers): GeneratedSecrets {
  mkdirSync(dataDir, { recursive: true })
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    writeDurably(
      draft,
      `${JSON.stringify(
        mapValues(makers, (make) => make()),
        null,
        2,
      )}\n`,
    )
    publish(draft, file)
  } finally {
    rmSync(draft, { force: true })
  }
  const secrets = read(file, makers)
  if (secrets === undefined) throw new Error('the file vanished')
  return secrets
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))
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
