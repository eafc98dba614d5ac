/**
 * The Redis to test with: redis-server or valkey-server from PATH, else from apt where we are root (containers, CI).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { findOnPath } from './find-on-path.ts'

const PROGRAMS = ['redis-server', 'valkey-server']
/** Where packages put servers, which a user's PATH may lack. */
const OTHER_DIRECTORIES = ['/usr/local/sbin', '/usr/sbin']
const POLICY = '/usr/sbin/policy-rc.d'

/** The path of the program; undefined where none can be had. */
export function findRedisServer(): string | undefined {
  const find = () => findOnPath(PROGRAMS, OTHER_DIRECTORIES)
  return find() ?? (installWithApt() ? find() : undefined)
}

function installWithApt(): boolean {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return false
  process.stderr.write('No redis-server on PATH: installing it with apt-get for the tests\n')
  // The package starts a service; the tests start their own server, on a port of their own.
  const addsPolicy = !existsSync(POLICY)
  if (addsPolicy) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    return apt('update') && apt('install', '-y', '--no-install-recommends', 'redis-server')
  } finally {
    if (addsPolicy) rmSync(POLICY, { force: true })
  }
}

function apt(...args: string[]): boolean {
  const result = spawnSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    encoding: 'utf8',
  })
  if (result.status !== 0) process.stderr.write(`apt-get ${args[0]}: ${result.stderr || result.error}\n`)
  return result.status === 0
}
