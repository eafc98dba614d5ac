/** The files of a message. */

export type MediaView = {
  /** The provider's id of the file. */
  id: string | null
  /** The provider's URL of the file; reading it needs the provider's credentials. */
  url: string | null
  mime_type: string | null
  sha256: string | null
  filename: string | null
  /** Recorded as a voice message. */
  voice: boolean | null
}

/** The first file is in columns of its own. When there are several, all of them are in `media`. */
export type MediaColumns = {
  media_id: string | null
  media_url: string | null
  media_mime_type: string | null
  media_sha256: string | null
  media_filename: string | null
  media_voice: boolean | null
  media: unknown
}

export function mediaOf(row: MediaColumns): MediaView[] {
  if (Array.isArray(row.media)) return row.media.map(viewOf)
  const only = {
    id: row.media_id,
    url: row.media_url,
    mime_type: row.media_mime_type,
    sha256: row.media_sha256,
    filename: row.media_filename,
    voice: row.media_voice,
  }
  return Object.values(only).every((value) => value === null) ? [] : [only]
}

function viewOf(file: Record<string, unknown>): MediaView {
  const text = (value: unknown) => (typeof value === 'string' ? value : null)
  return {
    id: text(file.id),
    url: text(file.url),
    mime_type: text(file.mime_type),
    sha256: text(file.sha256),
    filename: text(file.filename),
    voice: typeof file.voice === 'boolean' ? file.voice : null,
  }
}
