/** Real HTTP for tests: an app on a free port, and a client that sends exactly the headers it is given. */
import { createServer, type IncomingHttpHeaders, type RequestListener, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cleanUp } from './clean-up.ts'

/** Starts listening on loopback; the server is closed when the test or the file is over. Returns the base URL. */
export async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(
    () =>
      new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  )
  const { port } = server.address() as AddressInfo
  return `http://127.0.0.1:${port}`
}

export type HttpRequest = {
  method?: string
  headers?: Record<string, string>
  /** Text is sent unchanged, any other value as JSON with its content type. */
  body?: unknown
}

export type HttpResponse = {
  status: number
  headers: IncomingHttpHeaders
  text: string
  json: () => unknown
}

/** Unlike fetch, adds no browser headers, and allows Host, Origin and similar headers to be set. */
export function send(
  url: string,
  { method = 'GET', headers = {}, body }: HttpRequest = {},
): Promise<HttpResponse> {
  const isText = typeof body === 'string'
  const bytes = body === undefined ? undefined : Buffer.from(isText ? body : JSON.stringify(body))
  const contentHeaders: Record<string, string | number> = {}
  if (bytes) contentHeaders['content-length'] = bytes.length
  if (bytes && !isText) contentHeaders['content-type'] = 'application/json'
  return new Promise((resolve, reject) => {
    const req = request(url, { method, headers: { ...contentHeaders, ...headers }, agent: false }, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('error', reject)
      res.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: res.statusCode ?? 0, headers: res.headers, text, json: () => JSON.parse(text) })
      })
    })
    req.on('error', reject)
    req.end(bytes)
  })
}

export function basicAuth(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

export function bearerAuth(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` }
}
