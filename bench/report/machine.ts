/** The machine of a run, and the versions of everything that took part. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import type { BenchRun } from '../run-bench.ts'

export type Machine = {
  cpu: string
  cores: number
  memory_gb: number
  system: string
  node: string
  postgresql: string
  redis: string
  packages: Record<string, string>
  postgresql_settings: Record<string, string>
}

const PACKAGES = ['bullmq', 'ioredis', 'express', 'pg', 'pg-boss', 'graphile-worker']

export function describeMachine({ postgres }: Pick<BenchRun, 'postgres'>): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memory_gb: Math.round(totalmem() / 2 ** 30),
    // Without the suffix that the builder of the kernel has added.
    system: `${process.platform} ${release().replace(/-.*$/, '')}`,
    node: process.versions.node,
    postgresql: postgres.version,
    redis: redisVersion(),
    packages: Object.fromEntries(
      PACKAGES.flatMap((name) => {
        const version = versionOf(name)
        return version === undefined ? [] : [[name, version]]
      }),
    ),
    postgresql_settings: postgres.settings,
  }
}

function redisVersion(): string {
  try {
    return /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown'
  } catch {
    return 'none'
  }
}

/** Read from the file, because not every package lets its manifest be imported. */
function versionOf(name: string): string | undefined {
  const paths = createRequire(import.meta.url).resolve.paths(name) ?? []
  for (const directory of paths) {
    try {
      const manifest: { version: string } = JSON.parse(
        readFileSync(`${directory}/${name}/package.json`, 'utf8'),
      )
      return manifest.version
    } catch {
      // Not in this one.
    }
  }
  return undefined
}
