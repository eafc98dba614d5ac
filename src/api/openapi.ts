/** The OpenAPI document, made from the descriptions and schemas by which the routes check requests. */
import { z } from 'zod'
import type { AnswerDescription, ApiRoute } from './api-route.ts'

type Json = Record<string, unknown>

/** By the name that a schema has from `meta({ id })`. */
type Components = Map<string, Json>

export function describeApi(routes: readonly ApiRoute[]): Json {
  const components: Components = new Map()
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    const path = `/api${route.path.replaceAll(/:(\w+)/g, '{$1}')}`
    paths[path] = { ...paths[path], [route.method]: operationOf(route, components) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'wa-ingest',
      version: '1',
      description: 'WhatsApp messages of Meta and Twilio, stored once: read them, answer them, follow them.',
    },
    security: [{ token: [] }, { admin: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'One of API_TOKENS.' },
        admin: { type: 'http', scheme: 'basic', description: 'ADMIN_USER and ADMIN_PASSWORD.' },
      },
      schemas: Object.fromEntries(components),
    },
  }
}

function operationOf(route: ApiRoute, components: Components): Json {
  const { operationId, summary, description, body, file, answers } = route
  const responses: Json = {}
  for (const [status, answer] of Object.entries(answers)) responses[status] = answerOf(answer, components)
  for (const [status, text] of Object.entries(problemsOf(route)))
    responses[status] = problemAnswer(text, components)
  return {
    operationId,
    summary,
    ...(description === undefined ? {} : { description }),
    parameters: [
      ...parametersOf(route.params, 'path', components),
      ...parametersOf(route.query, 'query', components),
      ...parametersOf(route.headers, 'header', components),
    ],
    ...(body === undefined ? {} : { requestBody: requestBodyOf(body, components) }),
    ...(file === undefined ? {} : { requestBody: fileBodyOf(file) }),
    responses,
  }
}

/** The errors that every route may answer, and its own. */
function problemsOf({ method, problems = {} }: ApiRoute): Record<string, string> {
  return {
    400: 'The request is not as it should be; `errors` lists everything that is wrong.',
    401: 'Credentials are missing or wrong.',
    ...(method === 'get'
      ? {}
      : {
          403: 'The request comes from another site.',
          413: 'The body is larger than 1 MB.',
          415: 'The body is not JSON.',
        }),
    429: 'Too many wrong passwords from this address.',
    503: 'The database does not answer right now.',
    ...problems,
  }
}

function answerOf({ description, body, contentType }: AnswerDescription, components: Components): Json {
  if (body !== undefined)
    return { description, content: { 'application/json': { schema: schemaOf(body, 'output', components) } } }
  if (contentType === undefined) return { description }
  return { description, content: { [contentType]: { schema: { type: 'string' } } } }
}

export const problem = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('One sentence, with the next step where there is one.'),
    reason: z.string().optional().describe('A word for programs, where one status has several reasons.'),
    errors: z
      .array(
        z.strictObject({
          detail: z.string(),
          pointer: z.string().optional().describe('Of the body: JSON pointer.'),
          parameter: z.string().optional(),
          header: z.string().optional(),
        }),
      )
      .optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457.' })

function problemAnswer(description: string, components: Components): Json {
  return {
    description,
    content: { 'application/problem+json': { schema: schemaOf(problem, 'output', components) } },
  }
}

function requestBodyOf(body: z.ZodType, components: Components): Json {
  const required = !body.safeParse({}).success
  return { required, content: { 'application/json': { schema: schemaOf(body, 'input', components) } } }
}

/** A file has no schema: its content is any bytes. */
function fileBodyOf({ contentTypes }: NonNullable<ApiRoute['file']>) {
  return { required: true, content: Object.fromEntries(contentTypes.map((type) => [type, {}])) }
}

function parametersOf(
  fields: z.ZodObject | undefined,
  where: 'path' | 'query' | 'header',
  components: Components,
) {
  return Object.entries(fields?.shape ?? {}).map(([name, field]) => {
    const { description, ...schema } = schemaOf(z.object({ field }), 'input', components, 'field')
    return {
      name: where === 'header' ? headerName(name) : name,
      in: where,
      required: where === 'path',
      ...(description === undefined ? {} : { description }),
      schema,
    }
  })
}

/** `Idempotency-Key` for `idempotency-key`. */
function headerName(name: string): string {
  return name.replaceAll(/(?:^|-)[a-z]/g, (letters) => letters.toUpperCase())
}

const DEFS = '#/$defs/'

/** Named schemas become components; every use refers to the component. */
function schemaOf(
  schema: z.ZodType,
  io: 'input' | 'output',
  components: Components,
  property?: string,
): Json {
  const { $schema: _, $defs, ...own } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json
  for (const [name, definition] of Object.entries(($defs ?? {}) as Record<string, Json>))
    components.set(name, publicForm(definition, io))
  const name = z.globalRegistry.get(schema)?.id
  if (property !== undefined) {
    const properties = own.properties as Record<string, Json>
    return publicForm(properties[property] ?? {}, io)
  }
  if (name === undefined || own.$ref !== undefined) return publicForm(own, io)
  components.set(name, publicForm(own, io))
  return { $ref: `#/components/schemas/${name}` }
}

/**
 * Makes references point at the components. In answers, unknown members are allowed, because answers may get further
 * members at any time; in requests they stay forbidden.
 */
function publicForm(schema: Json, io: 'input' | 'output'): Json {
  const visit = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(visit)
    if (typeof value !== 'object' || value === null) return value
    const members = Object.entries(value)
      .filter(([key, item]) => key !== 'id' || typeof item !== 'string')
      .filter(([key, item]) => io === 'input' || key !== 'additionalProperties' || item !== false)
      .map(([key, item]) => [key, key === '$ref' ? componentRef(item) : visit(item)])
    return Object.fromEntries(members)
  }
  return visit(schema) as Json
}

function componentRef(ref: unknown): unknown {
  return typeof ref === 'string' && ref.startsWith(DEFS)
    ? `#/components/schemas/${ref.slice(DEFS.length)}`
    : ref
}
