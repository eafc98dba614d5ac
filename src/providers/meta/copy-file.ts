/**
 * Copies a file to Meta, which keeps it under an id for 30 days.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
 *
 * Copying sends no message, so a copy that ends without an id can always be made again.
 */
import { randomUUID } from 'node:crypto'
import type { CopyResult, SendError, SendResult } from '../../core/outbound.ts'
import { callProvider, type ProviderAnswer } from '../call.ts'
import { type FileToCopy, unanswered } from '../sender.ts'
import { object, text } from './json-reader.ts'
import { readMetaError } from './send-errors.ts'

export async function copyFileToMeta(
  { accessToken, graphUrl }: { accessToken: string; graphUrl: string },
  { business_number, content, filename }: FileToCopy,
  signal: AbortSignal,
): Promise<CopyResult> {
  const answer = await callProvider({
    url: `${graphUrl}/${encodeURIComponent(business_number)}/media`,
    headers: { authorization: `Bearer ${accessToken}` },
    body: formOf({ messaging_product: 'whatsapp', type: content.type }, content, filename),
    signal,
    secrets: [accessToken],
  })
  return readCopyAnswer(answer)
}

/** multipart/form-data. A FormData would be read faster than it is sent, and wait in memory. */
function formOf(fields: Record<string, string>, file: Blob, filename: string): Blob {
  const boundary = `wa-ingest-${randomUUID()}`
  const begin = (name: string) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"`
  const name = filename.replaceAll(/["\r\n]/g, encodeURIComponent)
  return new Blob(
    [
      ...Object.entries(fields).map(([field, value]) => `${begin(field)}\r\n\r\n${value}\r\n`),
      `${begin('file')}; filename="${name}"\r\nContent-Type: ${file.type}\r\n\r\n`,
      file,
      `\r\n--${boundary}--\r\n`,
    ],
    { type: `multipart/form-data; boundary=${boundary}` },
  )
}

function readCopyAnswer(answer: ProviderAnswer): CopyResult {
  if (answer.kind !== 'answered') return repeatable(unanswered(answer))
  const { status, body } = answer
  if (status < 200 || status > 299) return repeatable(readMetaError(status, body))
  const id = text(object(body).id)
  return id ? { kind: 'copied', media_id: id } : again(NO_MEDIA_ID)
}

/** A result that would be `unknown` for a message is `not_sent` for a file: copying it again does no harm. */
function repeatable(result: SendResult): CopyResult {
  if (result.kind === 'not_sent' || result.kind === 'failed' || result.kind === 'stop_sender') return result
  return again('error' in result ? result.error : NO_MEDIA_ID)
}

function again(error: SendError): CopyResult {
  return { kind: 'not_sent', reason: 'copy_unconfirmed', error }
}

const NO_MEDIA_ID = { code: 'no_media_id', message: 'the answer names no file' }
