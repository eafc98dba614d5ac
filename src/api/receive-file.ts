/**
 * Writes the body of a request to disk while it arrives: at most one chunk of it is in memory.
 *
 * The file is written as `<id>.part` and renamed when it is complete and on disk. So a file with its final name is
 * always complete, even after a power failure.
 */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import path from 'node:path'
import { allowLongBody } from './http-server.ts'
import { ProblemError } from './problem.ts'

export type ReceivedFile = {
  /** A random UUID, which is also the name of the file in the folder. */
  id: string
  size_bytes: number
  /** Hex. */
  sha256: string
}

/** Resolves when the file is on disk. @throws ProblemError; the partial file is removed. */
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
    throw asProblem(err, req)
  }
}

/** Renames a received file to the id of an earlier upload with the same content. */
export async function renameFile(folder: string, id: string, otherId: string): Promise<void> {
  await rename(path.join(folder, id), path.join(folder, otherId))
  await syncFolder(folder)
}

/** Removes a received file of which no row was stored. What cannot be removed is left to the pruner. */
export async function removeFile(folder: string, id: string): Promise<void> {
  await rm(path.join(folder, id), { force: true }).catch(() => {})
}

/** Resolves when the content is on disk. */
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
    // Leaving the loop must not close the connection, so that the client can read the error.
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

/** The name of a file is stored in its folder, so the folder has to be on disk, too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

function asProblem(err: unknown, req: IncomingMessage): unknown {
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

/** The rest of the body is not read, so the connection cannot be used again. */
const CLOSE = { Connection: 'close' }

function tooLarge(maxBytes: number): ProblemError {
  return new ProblemError({
    status: 413,
    detail: `A file of this type may have ${maxBytes} bytes.`,
    headers: CLOSE,
    extensions: { max_bytes: maxBytes },
  })
}
