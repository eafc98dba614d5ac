/**
 * A route of the JSON API: one description from which both its handler and its part of the OpenAPI document are made, so
 * that the two cannot drift apart.
 */
import type { Request, RequestHandler, Response } from 'express'
import { z } from 'zod'
import { ProblemError } from './problem.ts'

/** An answer as it is documented; without `body` it has none of JSON. */
export type AnswerDescription = {
  description: string
  body?: z.ZodType
  /** application/json where there is a body. */
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
  /** A value that does not fit is an address at which there is nothing. */
  params?: Params
  query?: Query
  /** By their names in lower case. */
  headers?: Headers
  /** Of the type application/json; may be left out where an empty object fits. */
  body?: Body
  /** Instead of `body`: the handler reads the request itself, as a file of one of these types. */
  file?: { contentTypes: readonly string[] }
  answers: Answers
  /** Answers other than the wished ones, beside those that every route may give. */
  problems?: Record<number, string>
}

export type ApiRoute = RouteDescription & { handler: RequestHandler }

/** A handler that has sent its answer itself. */
export const ANSWERED = Symbol('answered')

/** The handler gets what the schemas made of the request, and never a request that does not fit them. */
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

/** A misspelt parameter would pass for one that was left out. */
const NO_QUERY = z.strictObject({})

function read(schema: z.ZodType | undefined, value: unknown): z.ZodSafeParseResult<unknown> {
  return schema === undefined ? { success: true, data: undefined } : schema.safeParse(value)
}

/** Of what is unknown each name is an error of its own. */
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
