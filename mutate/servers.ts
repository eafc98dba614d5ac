/**
 * The servers that the tests share. Here and not in Stryker's process: that one is killed with all its children when a
 * mutant never ends, and PostgreSQL would have to start again.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ViteUserConfig } from 'vitest/config'

/** Runs the global set-ups of the vitest.config.ts in the current directory. */
export async function startServers(): Promise<{ provided: Record<string, unknown>; stop(): Promise<void> }> {
  const provided: Record<string, unknown> = {}
  const project = {
    provide: (key: string, value: unknown) => {
      provided[key] = value
    },
  }
  const stops: (() => Promise<void>)[] = []
  const { default: config } = (await load('vitest.config.ts')) as { default: ViteUserConfig }
  for (const file of [config.test?.globalSetup ?? []].flat()) {
    const { default: setUp } = (await load(file)) as {
      default: (given: typeof project) => Promise<() => Promise<void>>
    }
    stops.unshift(await setUp(project))
  }
  return {
    provided,
    stop: async () => {
      for (const stop of stops) await stop()
    },
  }
}

async function load(file: string): Promise<unknown> {
  return await import(pathToFileURL(path.resolve(file)).href)
}
