import express, { type RequestHandler } from 'express'
import { describe, expect, test } from 'vitest'
import { createErrorHandler, notFound, ProblemError } from '../../src/api/problem.ts'
import { type HttpRequest, send, serve } from '../support/http.ts'
import { captureLog } from './captured-log.ts'

const json = { 'content-type': 'application/json' }

async function startApp(handler: RequestHandler) {
  const { log, lines } = captureLog()
  const app = express()
  app.use(express.json({ limit: 100 }))
  app.all('/api/thing', handler)
  app.all('/page/:id', handler)
  app.all('/media/:uploadId/:ticket', handler)
  app.use(notFound)
  app.use(createErrorHandler({ log, renderErrorPage: ({ title, detail }) => `<h1>${title}</h1>${detail}` }))
  const url = await serve(app)
  return { ask: (path: string, request?: HttpRequest) => send(`${url}${path}`, request), lines }
}

const failing: RequestHandler = async () => {
  throw new Error('the query of +15550001234 failed: password=hunter2')
}

describe('the error handler', () => {
  test('hides an unknown error from the client and logs it once', async () => {
    const { ask, lines } = await startApp(failing)

    const response = await ask('/api/thing')

    expect(response.status).toBe(500)
    expect(response.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(response.json()).toEqual({
      type: 'about:blank',
      title: 'Internal Server Error',
      status: 500,
      detail: 'Internal error.',
    })
    expect(lines()).toMatchObject([
      { level: 'error', method: 'GET', path: '/api/thing', msg: 'request failed' },
    ])
  })

  test.each(['/media/1/ticket', '/Media/1/ticket?x=ticket'])(
    'keeps the ticket in %s out of the log: who has it may fetch the file',
    async (path) => {
      const { ask, lines } = await startApp(failing)

      await ask(path)

      expect(lines()).toMatchObject([{ path: '/media/…', msg: 'request failed' }])
      expect(JSON.stringify(lines())).not.toContain('ticket')
    },
  )

  test('shows a page without the error and its stack to a browser', async () => {
    const { ask } = await startApp(failing)

    const response = await ask('/page/1', {
      headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' },
    })

    expect(response.status).toBe(500)
    expect(response.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(response.text).toContain('Internal error.')
    expect(response.text).not.toMatch(/hunter2|\.ts|node_modules/)
  })

  test('answers /api in JSON also when a browser asks for a page', async () => {
    const { ask } = await startApp(failing)

    const response = await ask('/api/thing', { headers: { accept: 'text/html' } })

    expect(response.headers['content-type']).toMatch('application/problem+json')
  })

  test('answers a ProblemError, and logs it only if it has a cause', async () => {
    const { ask, lines } = await startApp((req, _res, next) => {
      const cause = req.query.cause === undefined ? undefined : { cause: new Error('connection refused') }
      const headers = { 'Retry-After': '5' }
      next(new ProblemError({ status: 503, detail: 'Later.', headers, extensions: { retry_in: 5 } }, cause))
    })

    const silent = await ask('/api/thing')
    const linesAfterSilent = lines().length
    await ask('/api/thing?cause')

    expect(silent.status).toBe(503)
    expect(silent.headers['retry-after']).toBe('5')
    expect(silent.json()).toMatchObject({ status: 503, detail: 'Later.', retry_in: 5 })
    expect(linesAfterSilent).toBe(0)
    expect(lines()).toMatchObject([{ err: { cause: { message: 'connection refused' } } }])
  })

  test.each([
    ['a body that is too large', { method: 'POST', body: { text: 'x'.repeat(200) } }, 413],
    ['a body that is not JSON', { method: 'POST', body: '{"pin": 1234', headers: json }, 400],
    [
      'a body in an unknown encoding',
      { method: 'POST', body: 'x', headers: { ...json, 'content-encoding': 'br2' } },
      415,
    ],
  ])('blames the client for %s, without quoting it or logging it', async (_name, request, status) => {
    const { ask, lines } = await startApp(failing)

    const response = await ask('/api/thing', request)

    expect(response.status).toBe(status)
    expect(response.json()).toMatchObject({ status, detail: expect.not.stringContaining('1234') })
    expect(lines()).toEqual([])
  })

  test('refuses an address that cannot be decoded', async () => {
    const { ask } = await startApp(failing)

    expect((await ask('/page/%ff')).status).toBe(400)
  })

  test('answers 404 at an unknown address', async () => {
    const { ask } = await startApp(failing)

    expect((await ask('/nothing')).json()).toMatchObject({ status: 404, title: 'Not Found' })
  })

  test('closes the connection when an answer fails half-way, so that the client notices', async () => {
    const { ask, lines } = await startApp((_req, res) => {
      res.write('{"items":[')
      throw new Error('the rest is missing')
    })

    await expect(ask('/api/thing')).rejects.toThrow(/aborted|hang up/)
    expect(lines()).toHaveLength(1)
  })
})
