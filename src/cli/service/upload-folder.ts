import path from 'node:path'
import type { Config } from '../../config/config.ts'

/** Where uploaded files are, apart from whatever else is in MEDIA_DIR. */
export function uploadFolder({ mediaDir }: Pick<Config, 'mediaDir'>): string {
  return path.join(mediaDir, 'uploads')
}
