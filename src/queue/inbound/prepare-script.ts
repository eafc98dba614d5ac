/** Lua scripts on Redis: run by their SHA-1 digest, and by their text when Redis does not have them in its cache. */
import { createHash } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'

export type Script = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>

/** @throws the error of Redis or of the connection. When Redis cannot find or compile the script, none of it has run. */
export function prepareScript(client: Redis | Cluster, text: string): Script {
  const digest = createHash('sha1').update(text).digest('hex')
  return async (keys, args) => {
    try {
      return await client.evalsha(digest, keys.length, ...keys, ...args)
    } catch (err) {
      // The cache is empty after a restart, SCRIPT FLUSH or a failover.
      if (!(err instanceof Error) || !err.message.startsWith('NOSCRIPT')) throw err
      return await client.eval(text, keys.length, ...keys, ...args)
    }
  }
}

/**
 * A script that Redis also runs while it is at its `maxmemory` (flag `allow-oom`): for scripts that take jobs off a queue,
 * and so free memory. Redis 6 does not know the flag, and refuses such a script as long as its memory is full.
 */
export function prepareAllowOomScript(client: Redis | Cluster, text: string): Script {
  const plain = prepareScript(client, text)
  let run = prepareScript(client, `#!lua flags=allow-oom\n${text}`)
  return async (keys, args) => {
    try {
      return await run(keys, args)
    } catch (err) {
      if (!(err instanceof Error) || !err.message.includes('Error compiling script')) throw err
      run = plain
      return await run(keys, args)
    }
  }
}
