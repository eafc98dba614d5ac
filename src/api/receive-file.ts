/**
 * A body that goes to disk as it comes, whatever its size: never more of it is in memory than one chunk.
 *
 * It is written under a name of its own (`<id>.part`) and gets the right one when it is whole and on disk, so that a file
 * under the right name is never half a file, also after a power cut.
 */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import path from 'node:path'
import { allowLongBody } from './http-server.ts'
import { ProblemError } from './problem.ts'

export type ReceivedFile = {
  /** A random UUID: its name in the folder. */
  id: string
  size_bytes: number
  /** Hex. */
  sha256: string
}

/** Resolves when the file is on disk. @throws ProblemError, and then nothing is left of it. */
export async function receiveFile(
  req: IncomingMessage,
  { folder, maxBytes }: { folder: string; maxBytes: number },
): Promise<ReceivedFile> {
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  const id = randomUUID()
  const part = path.join(folder, `${id}.part`)
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const written = await writeBody(req, part, maxBytes)
    await rename(part, path.join(folder, id))
    await syncFolder(folder)
    return { id, ...written }
  } catch (err) {
    await rm(part, { force: true }).catch(() => {})
    throw describeFailure(err, req)
  }
}

/** The file has become another upload's, which has the same content. */
export async function renameFile(folder: string, id: string, otherId: string): Promise<void> {
  await rename(path.join(folder, id), path.join(folder, otherId))
  await syncFolder(folder)
}

/** On disk when it resolves. */
export async function writeBody(
  req: IncomingMessage,
  file: string,
  maxBytes: number,
): Promise<{ size_bytes: number; sha256: string }> {
  const handle = await open(file, 'w', 0o600)
  const hash = createHash('sha256')
  let size_bytes = 0
  try {
    allowLongBody(req)
    // Leaving the loop must not cut the connection: the client is to read why.
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      size_bytes += chunk.length
      if (size_bytes > maxBytes) throw tooLarge(maxBytes)
      hash.update(chunk)
      await handle.writeFile(chunk)
    }
    if (size_bytes === 0)
      throw new ProblemError({ status: 400, detail: 'The body is the file: it is empty.' })
    await handle.sync()
    return { size_bytes, sha256: hash.digest('hex') }
  } finally {
    await handle.close()
  }
}

/** A name is in the folder, and the folder has to be on disk as well. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

function describeFailure(err: unknown, req: IncomingMessage): unknown {
  if (err instanceof ProblemError) return err
  const code = err instanceof Error && 'code' in err ? String(err.code) : ''
  if (NO_ROOM.has(code))
    return new ProblemError(
      { status: 507, detail: 'There is no room for the file in MEDIA_DIR.', headers: CLOSE },
      { cause: err },
    )
  if (req.destroyed && !req.complete)
    return new ProblemError({ status: 400, detail: 'The body ended before it was whole.' })
  return err
}

/** The rest of the body is not read: the connection cannot be used again. */
const CLOSE = { Connection: 'close' }

function tooLarge(maxBytes: number): ProblemError {
  return new ProblemError({
    status: 413,
    detail: `A file of this type may have ${maxBytes} bytes.`,
    headers: CLOSE,
    extensions: { max_bytes: maxBytes },
  })
}
