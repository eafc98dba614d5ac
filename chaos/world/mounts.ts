/** File systems of a scenario's own: a small disk, and one whose content can be looked at as a power failure leaves it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import type { ReleaseStack } from '../../src/lifecycle/release-stack.ts'

const MEGABYTE = 1024 * 1024

/** Why nothing can be mounted here; undefined: it can. */
export function whyNoMounts(): string | undefined {
  if (process.platform !== 'linux') return 'it mounts file systems, which is done for Linux only'
  if (process.getuid?.() !== 0) return 'it mounts file systems, which only root may'
  return undefined
}

/** A disk in memory of this size (`160m`), mounted on a new directory in `directory`. */
export async function mountMemory(
  directory: string,
  name: string,
  size: string,
  releases: ReleaseStack,
): Promise<string> {
  const place = path.join(directory, name)
  mkdirSync(place, { mode: 0o755 })
  await run('mount', '-t', 'tmpfs', '-o', `size=${size},mode=755`, 'tmpfs', place)
  releases.add(`mount ${name}`, () => unmount(place))
  return place
}

/** A disk in a file. The file holds what was synced to the disk. */
export async function makeDisk(file: string, sizeMegabytes: number): Promise<void> {
  await run('truncate', '-s', `${sizeMegabytes}M`, file)
  await run('mkfs.ext4', '-q', '-F', file)
}

/** Only what programs sync goes to the disk: the journal is otherwise written every 5 minutes. */
export async function mountDisk(
  file: string,
  directory: string,
  name: string,
  releases: ReleaseStack,
): Promise<string> {
  const place = path.join(directory, name)
  mkdirSync(place, { mode: 0o755 })
  await run('mount', '-o', 'loop,commit=300', file, place)
  releases.add(`mount ${name}`, () => unmount(place))
  return place
}

/** Writes everything to the disk, also what programs have not synced. */
export async function syncDisk(place: string): Promise<void> {
  await run('sync', '-f', place)
}

export async function copyDisk(file: string, copy: string): Promise<void> {
  await run('cp', '--sparse=always', file, copy)
}

export type Ballast = { remove(): void }

/** Writes a file until there is no room. */
export function fillUp(directory: string): Ballast {
  const file = path.join(directory, 'ballast')
  const descriptor = openSync(file, 'w')
  for (let size = MEGABYTE; size >= 512; size /= 2) {
    const block = Buffer.alloc(size, 1)
    while (writeWhole(descriptor, block)) {}
  }
  closeSync(descriptor)
  return { remove: () => rmSync(file, { force: true }) }
}

function writeWhole(descriptor: number, block: Buffer): boolean {
  try {
    return writeSync(descriptor, block) === block.length
  } catch {
    return false
  }
}

async function unmount(place: string): Promise<void> {
  // Lazily where something still has a file open; it goes when that ends.
  await run('umount', place).catch(() => run('umount', '-l', place))
}

async function run(command: string, ...args: string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  if (code !== 0) throw new Error(`${command} failed: ${said.trim()}`)
}
