/** Where files go that DATA_DIR cannot hold: every user can read here and only root can write. Used only by root. */
export const SYSTEM_DIRECTORY = '/var/lib/wa-ingest'

/** Makes files under the umask 022. With a umask of 077 no other user could enter a directory that root makes for it. */
export function withOpenUmask<T>(make: () => T): T {
  const umask = process.umask(0o022)
  try {
    return make()
  } finally {
    process.umask(umask)
  }
}
