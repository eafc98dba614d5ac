/** The place of last resort, which every user can reach and only root can write. Used only where we are root. */
export const SYSTEM_DIRECTORY = '/var/lib/wa-ingest'

/** Under the umask 077 of a careful root, no other user could enter what is made for it. */
export function withOpenUmask<T>(make: () => T): T {
  const umask = process.umask(0o022)
  try {
    return make()
  } finally {
    process.umask(umask)
  }
}
