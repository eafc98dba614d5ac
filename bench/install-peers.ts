/** The packages of bench/package.json, installed when a contender needs them. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

const DIRECTORY = import.meta.dirname

/** @throws Error with the next step when npm cannot. */
export function installPeers(onLog: (line: string) => void): void {
  if (isInstalled()) return
  onLog('installing pg-boss and graphile-worker in bench/, once')
  const { npm_execpath: npm } = process.env
  const [command, ...args] = npm?.endsWith('.js') && existsSync(npm) ? [process.execPath, npm] : ['npm']
  const result = spawnSync(
    command,
    [...args, 'ci', '--ignore-scripts', '--loglevel=error', '--no-audit', '--no-fund'],
    {
      cwd: DIRECTORY,
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  )
  if (result.status !== 0)
    throw new Error(
      'npm ci in bench/ failed: check the network, or leave out pg-boss and graphile-worker with --contenders',
    )
}

function isInstalled(): boolean {
  const wanted = readVersions('package-lock.json')
  const installed = readVersions('node_modules/.package-lock.json')
  return Object.entries(wanted).every(([name, version]) => name === '' || installed[name] === version)
}

function readVersions(file: string): Record<string, string> {
  try {
    const { packages }: { packages: Record<string, { version: string }> } = JSON.parse(
      readFileSync(path.join(DIRECTORY, file), 'utf8'),
    )
    return Object.fromEntries(Object.entries(packages).map(([name, { version }]) => [name, version]))
  } catch {
    return {}
  }
}
