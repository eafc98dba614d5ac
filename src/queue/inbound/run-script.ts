/** Running a Lua script by its digest, and by its text where Redis does not know it yet. */
import { createHash } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'

export type Script = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>

/** @throws what Redis or the connection says. */
export function prepareScript(client: Redis | Cluster, text: string): Script {
  const digest = createHash('sha1').update(text).digest('hex')
  return async (keys, args) => {
    try {
      return await client.evalsha(digest, keys.length, ...keys, ...args)
    } catch (err) {
      // After its start, and after SCRIPT FLUSH or a failover. Nothing of the script has run then.
      if (!(err instanceof Error) || !err.message.startsWith('NOSCRIPT')) throw err
      return await client.eval(text, keys.length, ...keys, ...args)
    }
  }
}
