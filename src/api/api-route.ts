/**
 * A route of the JSON API. Its handler and its part of the OpenAPI document come from one description, so they cannot
 * disagree.
 */
import type { Request, RequestHandler, Response } from 'express'
import { z } from 'zod'
import { ProblemError } from './problem.ts'

/** An answer as the OpenAPI document describes it. Without `body` the answer is not JSON. */
export type AnswerDescription = {
  description: string
  body?: z.ZodType
  /** Default: application/json for an answer with a body. */
  contentType?: string
}

export type RouteInput<Params, Query, Headers, Body> = {
  params: Params
  query: Query
  headers: Headers
  body: Body
  req: Request
}

type AnswerOf<Answers> = {
  [Status in keyof Answers]: {
    status: Status
    headers?: Record<string, string>
  } & (Answers[Status] extends { body: z.ZodType<infer Body> } ? { body: Body } : unknown)
}[keyof Answers]

export type RouteDescription<
  Params extends z.ZodObject = z.ZodObject,
  Query extends z.ZodObject = z.ZodObject,
  Headers extends z.ZodObject = z.ZodObject,
  Body extends z.ZodType = z.ZodType,
  Answers extends Record<number, AnswerDescription> = Record<number, AnswerDescription>,
> = {
  method: 'get' | 'post'
  /** Below /api, as Express writes it. */
  path: string
  operationId: string
  summary: string
  description?: string
  /** A value that does not fit is answered 404. */
  params?: Params
  query?: Query
  /** Names in lower case. */
  headers?: Headers
  /** JSON. The client may leave it out if an empty object fits the schema. */
  body?: Body
  /** Instead of `body`: the body is a file of one of these types, and the handler reads it itself. */
  file?: { contentTypes: readonly string[] }
  answers: Answers
  /** Errors by status, in addition to those that every route may answer. */
  problems?: Record<number, string>
}

export type ApiRoute = RouteDescription & { handler: RequestHandler }

/** Returned by a handler that has sent the answer itself. */
export const ANSWERED = Symbol('answered')

/**
 * The handler gets the parsed parameters, query, headers and body. A request that does not fit the schemas never
 * reaches it.
 */
export function defineRoute<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Headers extends z.ZodObject,
  Body extends z.ZodType,
  const Answers extends Record<number, AnswerDescription>,
>(
  description: RouteDescription<Params, Query, Headers, Body, Answers>,
  handle: (
    input: RouteInput<z.output<Params>, z.output<Query>, z.output<Headers>, z.output<Body>>,
    res: Response,
  ) => Promise<AnswerOf<Answers> | typeof ANSWERED>,
): ApiRoute {
  const handler: RequestHandler = async (req, res) => {
    const answer = await handle(readRequest(description, req), res)
    if (answer !== ANSWERED) send(res, answer as SentAnswer)
  }
  return { ...description, handler }
}

type SentAnswer = { status: number; body?: unknown; headers?: Record<string, string> }

function send(res: Response, { status, body, headers = {} }: SentAnswer): void {
  res.status(status).set(headers)
  if (body === undefined) res.end()
  else res.json(body)
}

function readRequest<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Headers extends z.ZodObject,
  Body extends z.ZodType,
>(
  description: RouteDescription<Params, Query, Headers, Body>,
  req: Request,
): RouteInput<z.output<Params>, z.output<Query>, z.output<Headers>, z.output<Body>> {
  const params = read(description.params, req.params)
  if (!params.success) throw new ProblemError({ status: 404, detail: 'There is nothing at this address.' })
  const query = read(description.query ?? NO_QUERY, req.query)
  const headers = read(description.headers, req.headers)
  const body = read(description.body, req.body ?? {})
  if (query.success && headers.success && body.success) {
    return {
      params: params.data as z.output<Params>,
      query: query.data as z.output<Query>,
      headers: headers.data as z.output<Headers>,
      body: body.data as z.output<Body>,
      req,
    }
  }
  throw new ProblemError({
    status: 400,
    detail: 'The request is not as it should be; see `errors`.',
    extensions: {
      errors: [
        ...issuesOf(query).map(({ path, detail }) => ({ parameter: path.join('.'), detail })),
        ...issuesOf(headers).map(({ path, detail }) => ({ header: path.join('.'), detail })),
        ...issuesOf(body).map(({ path, detail }) => ({ pointer: pointerTo(path), detail })),
      ],
    },
  })
}

/** Strict: otherwise a misspelt parameter would be ignored without an error. */
const NO_QUERY = z.strictObject({})

function read(schema: z.ZodType | undefined, value: unknown): z.ZodSafeParseResult<unknown> {
  return schema === undefined ? { success: true, data: undefined } : schema.safeParse(value)
}

/** Each unknown name is an error of its own. */
function issuesOf(result: z.ZodSafeParseResult<unknown>) {
  return (result.error?.issues ?? []).flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: [...issue.path, key], detail: 'is not known here' }))
      : [{ path: issue.path, detail: issue.message }],
  )
}

/** JSON pointer (RFC 6901) as a URI fragment, the form of RFC 9457's example. */
function pointerTo(path: readonly PropertyKey[]): string {
  return `#${path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')}`
}
