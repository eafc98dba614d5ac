/**
 * Errors as answers: problem details (RFC 9457) for programs, a page for browsers.
 *
 * A handler throws a ProblemError, or passes it to `next`; the error handler at the end of the app answers it. Any
 * other error is a defect or a failed dependency: it is logged once, and the client sees none of its text, because
 * messages and stacks may contain queries, addresses and personal data.
 */
import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { ErrorRequestHandler, Request, RequestHandler } from 'express'
import { UPLOAD_LINK_PATH } from '../core/upload.ts'

export type Problem = {
  status: number
  /** One sentence for the client, with the next step where there is one. */
  detail: string
  headers?: Readonly<Record<string, string>>
  /** Further members of the problem object, in snake_case. */
  extensions?: Readonly<Record<string, unknown>>
}

/** An error answer. With a `cause` it is logged too, because then a part of this service has failed. */
export class ProblemError extends Error {
  override name = 'ProblemError'
  readonly problem: Problem

  constructor(problem: Problem, options?: ErrorOptions) {
    super(problem.detail, options)
    this.problem = problem
  }
}

/** The part of a pino logger that src/api uses. */
export type Log = {
  warn(fields: Record<string, unknown>, message: string): void
  error(fields: Record<string, unknown>, message: string): void
}

export type ErrorPage = { status: number; title: string; detail: string }

export type ErrorHandlerDeps = {
  log: Pick<Log, 'error'>
  /** Makes HTML for browsers that asked for a page. Without it every client gets JSON. */
  renderErrorPage?: (page: ErrorPage) => string
}

/** Answers with `application/problem+json`. */
export function sendProblem(res: ServerResponse, problem: Problem): void {
  writeProblem(res, problem)
  res.end()
}

/** The whole answer, without ending the response. */
export function writeProblem(res: ServerResponse, problem: Problem): void {
  const { status, detail, headers = {}, extensions = {} } = problem
  const body = JSON.stringify({ type: 'about:blank', title: titleOf(status), status, detail, ...extensions })
  res.writeHead(status, {
    ...headers,
    'Content-Type': 'application/problem+json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'X-Content-Type-Options': 'nosniff',
  })
  res.write(body)
}

/** The last handler of an app, after `notFound`. */
export function createErrorHandler(deps: ErrorHandlerDeps): ErrorRequestHandler {
  return (err: unknown, req, res, _next) => {
    const problem = toProblem(err)
    if (isServerFault(err))
      deps.log.error({ err, method: req.method, path: loggedPath(req) }, 'request failed')
    // A part of the answer was sent: closing the connection tells the client that it is incomplete.
    if (res.headersSent) return void res.destroy()
    if (deps.renderErrorPage && wantsPage(req)) {
      const { status, detail } = problem
      const html = deps.renderErrorPage({ status, title: titleOf(status), detail })
      return void res
        .status(status)
        .set(problem.headers ?? {})
        .type('html')
        .send(html)
    }
    sendProblem(res, problem)
  }
}

/** The last route of an app. */
export const notFound: RequestHandler = (_req, _res, next) => {
  next(new ProblemError({ status: 404, detail: 'There is nothing at this address.' }))
}

/** The path of a media link is a credential for a day. Express matches paths in any case of letters. */
function loggedPath({ path }: Request): string {
  return path.toLowerCase().startsWith(`${UPLOAD_LINK_PATH}/`) ? `${UPLOAD_LINK_PATH}/…` : path
}

function titleOf(status: number): string {
  return STATUS_CODES[status] ?? 'Error'
}

function isServerFault(err: unknown): boolean {
  return err instanceof ProblemError ? err.cause !== undefined : clientErrorStatus(err) === undefined
}

function toProblem(err: unknown): Problem {
  if (err instanceof ProblemError) return err.problem
  const status = clientErrorStatus(err)
  if (status === undefined) return { status: 500, detail: 'Internal error.' }
  const problem = { status, detail: CLIENT_ERRORS[status] ?? `${titleOf(status)}.` }
  // The rest of a body that is too large is not read, so the connection cannot be used again.
  return status === 413 ? { ...problem, headers: { Connection: 'close' } } : problem
}

/**
 * Details for requests that Express and its body parsers refuse. Their own messages quote the body and are not sent.
 */
const CLIENT_ERRORS: Readonly<Record<number, string>> = {
  400: 'The request cannot be understood: its address or its body is not what it should be.',
  413: 'The body is too large.',
  415: 'The body has a content type, character set or encoding that is not supported.',
}

/** The status of an error of http-errors that blames the client (4xx). */
function clientErrorStatus(err: unknown): number | undefined {
  if (!(err instanceof Error) || !('status' in err) || typeof err.status !== 'number') return undefined
  return err.status >= 400 && err.status < 500 ? err.status : undefined
}

function wantsPage(req: Request): boolean {
  return !req.originalUrl.startsWith('/api/') && req.accepts(['json', 'html']) === 'html'
}
