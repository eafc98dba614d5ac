/** A TCP relay between a test and a server, closed with the test (outside of a test: the file). */
import { cleanUp } from './clean-up.ts'
import { openTcpRelay, type TcpRelay } from './tcp-relay.ts'

export type TcpProxy = TcpRelay

export async function startTcpProxy(targetUrl: string): Promise<TcpProxy> {
  const relay = await openTcpRelay(targetUrl)
  cleanUp(() => relay.close())
  return relay
}
