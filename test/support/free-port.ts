import { findFreePort as findPort } from '../../src/local/free-port.ts'

/** Below the ports that systems give to connections: one of those can be in use again before a server listens on it. */
const FIRST = 20_000
const COUNT = 12_000

/**
 * A port on 127.0.0.1 for a server that is about to start. Random, so that two test files hardly ever choose the same
 * one.
 */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    if ((await findPort(port)) === port) return port
  }
}
