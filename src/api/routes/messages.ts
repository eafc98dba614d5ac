import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { requestDigest } from '../../core/request-digest.ts'
import { type CreateOutcome, createOutboundMessage } from '../../db/outbox/create.ts'
import { createResend } from '../../db/outbox/resend.ts'
import { findMessage, findMessageWithHistory } from '../../db/views/message-list.ts'
import { maxTextLengths, otherChannelPaths } from '../../providers/index.ts'
import type { ApiDeps } from '../api-deps.ts'
import { type ApiRoute, defineRoute } from '../api-route.ts'
import { idempotencyKey } from '../idempotency-key.ts'
import { exactBody } from '../json-body.ts'
import { id, message, messageWithHistory } from '../message-schema.ts'
import { newMessageSchema, toOutboundRequest, withExactComponents } from '../new-message-schema.ts'
import { refusalProblems } from '../outbound-refusals.ts'
import { ProblemError } from '../problem.ts'

const headers = z.object({ 'idempotency-key': idempotencyKey })

export function messageRoutes({
  db,
  providers,
  findMissingCredential,
  defaultNumbers,
  refuseUpload,
  notifySend,
}: Pick<
  ApiDeps,
  'db' | 'providers' | 'findMissingCredential' | 'defaultNumbers' | 'refuseUpload' | 'notifySend'
>): ApiRoute[] {
  const refused = refusalProblems(providers, findMissingCredential)
  const names = providers.map(({ name }) => name)
  return [
    defineRoute(
      {
        method: 'post',
        path: '/messages',
        operationId: 'sendMessage',
        summary: 'Sends a message',
        description:
          'The message is stored at once with status `queued` and sent by the worker; its status then tells how far it ' +
          'got. With an `Idempotency-Key` the request can be repeated until it is answered: it is stored and sent once.',
        headers,
        body: newMessageSchema(names),
        answers: CREATED,
        problems: {
          422: 'The key was used for another request, or nothing can be sent there; `reason` says which.',
        },
      },
      async ({ body, headers, req }) => {
        const message = withExactComponents(body, exactBody(req))
        const outcome = await createOutboundMessage(db, toOutboundRequest(message), {
          ...keyOptions(headers['idempotency-key'], message),
          defaultNumbers,
          configuredProviders: names.filter((name) => findMissingCredential(name) === undefined),
          otherChannelPaths: otherChannelPaths(providers),
          refuseUpload,
          maxTextLengths: maxTextLengths(providers),
        })
        return answerOf(outcome)
      },
    ),
    defineRoute(
      {
        method: 'get',
        path: '/messages/:id',
        operationId: 'getMessage',
        summary: 'A message with its history',
        description: 'The id of a message that was merged into another one leads to that other one.',
        params: z.object({ id }),
        answers: { 200: { description: 'The message.', body: messageWithHistory } },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => {
        const found = await findMessageWithHistory(db, params.id)
        if (found === undefined) throw new ProblemError({ status: 404, detail: NOT_FOUND })
        return { status: 200, body: found }
      },
    ),
    defineRoute(
      {
        method: 'post',
        path: '/messages/:id/resend',
        operationId: 'resendMessage',
        summary: 'Resends a message that may not have arrived',
        description:
          'For messages with status `unknown`, `failed` or `undelivered`. A message with status `unknown` may have been sent, ' +
          'so the contact may get it twice: a person should decide. A message is resent once; repeating answers the same one.',
        params: z.object({ id }),
        headers,
        body: z.strictObject({}).meta({ id: 'Resend' }),
        answers: CREATED,
        problems: {
          404: NOT_FOUND,
          409: 'The message has another status, or is not one that was sent from here.',
          422: 'The key was used for another request.',
        },
      },
      async ({ params, headers }) => {
        const options = keyOptions(headers['idempotency-key'], { resend: params.id })
        const outcome = await createResend(db, params.id, options)
        // createResend looks at outbound messages only; any other message exists but cannot be resent.
        const isMissing = outcome.kind === 'refused' && outcome.reason === 'message_not_found'
        if (isMissing && (await findMessage(db, params.id))) throw refused('not_resendable')
        return answerOf(outcome)
      },
    ),
  ]

  async function answerOf(outcome: CreateOutcome) {
    if (outcome.kind === 'refused') throw refused(outcome.reason, outcome.provider)
    if (outcome.kind === 'conflict') throw keyReused()
    const { kind, message_id } = outcome
    if (kind === 'created') notifySend(message_id)
    const body = await findMessage(db, message_id)
    if (body === undefined) throw new Error(`message ${message_id} was stored and is not there`)
    const location = { Location: `/api/messages/${message_id}` }
    return { status: kind === 'created' ? 201 : 200, body, headers: location } as const
  }
}

const NOT_FOUND = 'There is no such message.'

const CREATED = {
  200: { description: 'The same request was made before: the message as it is now.', body: message },
  201: { description: 'The message, stored and about to be sent.', body: message },
} as const

/** Without a key, a random one makes the request unique. */
function keyOptions(key: string | undefined, request: unknown) {
  return { idempotencyKey: key ?? randomUUID(), requestHash: requestDigest(request) }
}

function keyReused(): ProblemError {
  return new ProblemError({
    status: 422,
    detail: 'This Idempotency-Key was used for another request. Take a new key for a new message.',
    extensions: { reason: 'idempotency_key_reused' },
  })
}
