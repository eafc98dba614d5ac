import { findFreePort } from '../../src/local/free-port.ts'

/**
 * Below the range that Linux and others give to outgoing connections: one of those could take the port of a server that is
 * away for a moment. Each run begins somewhere else, and gives no port twice.
 */
const FIRST = 15_000
const COUNT = 15_000
let next = Math.floor(Math.random() * COUNT)

/** A free port on 127.0.0.1 that no other play of this run has. */
export async function takePort(): Promise<number> {
  for (;;) {
    const port = FIRST + (next++ % COUNT)
    if ((await findFreePort(port)) === port) return port
  }
}
