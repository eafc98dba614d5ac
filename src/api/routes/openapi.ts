import { z } from 'zod'
import { type ApiRoute, defineRoute } from '../api-route.ts'

export function openApiRoute(describe: () => Record<string, unknown>): ApiRoute {
  return defineRoute(
    {
      method: 'get',
      path: '/openapi.json',
      operationId: 'getOpenApiDocument',
      summary: 'This document',
      answers: {
        200: { description: 'OpenAPI 3.1.', body: z.record(z.string(), z.unknown()).meta({ id: 'OpenApi' }) },
      },
    },
    async () => ({ status: 200, body: describe() }),
  )
}
