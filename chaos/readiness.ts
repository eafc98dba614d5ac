import { ADMIN_PASSWORD } from './world/world.ts'

/** What `/health/ready` says to the admin. */
export async function readReadiness(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(new URL('/health/ready', url), {
    headers: { authorization: `Basic ${Buffer.from(`admin:${ADMIN_PASSWORD}`).toString('base64')}` },
    signal: AbortSignal.timeout(5_000),
  })
  return { status: response.status, text: await response.text() }
}
