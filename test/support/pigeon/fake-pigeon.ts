/** The API of Pigeon Post, and webhooks as it sends them. */
import { createHmac, randomBytes } from 'node:crypto'
import { type FakeServer, startFakeServer } from '../fake-server.ts'

export const PIGEON_SECRET = 'a-long-secret-of-the-dovecote'
export const PIGEON_TOKEN = 'token-of-the-dovecote'
export const PIGEON_LOFT = 'LOFT1'

export type Letter = { from: string; to: string; ref: string; text: string }

/** `letters`: what it was given to carry. */
export async function startFakePigeon(): Promise<FakeServer & { letters(): Letter[] }> {
  const server = await startFakeServer({
    isSend: () => true,
    succeed: () => ({ status: 200, body: { id: letterId() } }),
  })
  return Object.assign(server, {
    letters: () =>
      server.calls.filter(({ path }) => path === '/letters').map(({ body }): Letter => JSON.parse(body)),
  })
}

export function letterId(): string {
  return `PGN-${randomBytes(8).toString('hex')}`
}

export function pigeonHeaders(body: string | Buffer, secret = PIGEON_SECRET): Record<string, string> {
  return { 'x-pigeon-signature': createHmac('sha256', secret).update(body).digest('hex') }
}

export function letterBody(letter: { id: string; text?: string }): string {
  return JSON.stringify({ letter: { from: '15551230001', to: '15550001234', text: 'hello', ...letter } })
}

export function flightBody(flight: { id: string; state: string; from?: string; ref?: string }): string {
  return JSON.stringify({ flight: { from: '15550001234', ...flight } })
}
