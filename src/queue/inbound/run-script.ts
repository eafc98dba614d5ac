/** Lua scripts: run by their digest, and by their text where Redis does not know them yet. */
import { createHash } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'

export type Script = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>

/** @throws what Redis or the connection says; nothing of the script has run when it does not know or understand it. */
export function prepareScript(client: Redis | Cluster, text: string): Script {
  const digest = createHash('sha1').update(text).digest('hex')
  return async (keys, args) => {
    try {
      return await client.evalsha(digest, keys.length, ...keys, ...args)
    } catch (err) {
      // After its start, and after SCRIPT FLUSH or a failover.
      if (!(err instanceof Error) || !err.message.startsWith('NOSCRIPT')) throw err
      return await client.eval(text, keys.length, ...keys, ...args)
    }
  }
}

/**
 * A script that runs also while Redis is at its `maxmemory`: for what works off a queue, and so makes room. Redis 6 does
 * not know the flag, and refuses such a script as long as it is full.
 */
export function prepareRelief(client: Redis | Cluster, text: string): Script {
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
