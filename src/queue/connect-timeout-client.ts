/**
 * A pg client with a connect time-out of its own, and a listener for errors.
 *
 * pg's pool has one time-out for two things: waiting for a free connection, and opening a new one. A busy worker has to wait
 * long for a free connection, but should soon give up a server that does not answer. So each connection limits itself.
 *
 * BullMQ holds a connection for a moment without a listener for its errors. A connection cut in that moment would end the
 * process. The query that waits on the connection is rejected in any case.
 */
import { Client, type ClientConfig } from 'pg'

export const CONNECT_TIMEOUT_MS = 2_000

export class ConnectTimeoutClient extends Client {
  constructor(config?: ClientConfig) {
    super({ ...config, connectionTimeoutMillis: CONNECT_TIMEOUT_MS })
    this.on('error', () => {})
  }
}
