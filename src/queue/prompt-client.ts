/**
 * A connection to PostgreSQL that is made soon or not at all.
 *
 * pg's pool knows one time-out for two things: waiting for a free connection, and making one. A busy worker has to wait
 * long for a free one; a server that does not answer should be tried again soon. So the connection limits itself.
 *
 * BullMQ holds connections for a moment without listening to their errors. One that is cut in that moment would end the
 * process; whoever waits for an answer on it hears of it anyway.
 */
import { Client, type ClientConfig } from 'pg'

export const CONNECT_TIMEOUT_MS = 2_000

export class PromptClient extends Client {
  constructor(config?: ClientConfig) {
    super({ ...config, connectionTimeoutMillis: CONNECT_TIMEOUT_MS })
    this.on('error', () => {})
  }
}
