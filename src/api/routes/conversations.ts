import { z } from 'zod'
import { markAsRead } from '../../db/outbox/mark-read.ts'
import { findConversation, listConversations } from '../../db/views/conversation-list.ts'
import { listMessages } from '../../db/views/message-list.ts'
import type { ApiDeps } from '../api-deps.ts'
import { type ApiRoute, defineRoute } from '../api-route.ts'
import { listAnswer, listCursor } from '../list-cursor.ts'
import { conversation, id, isPlainText, limit, listOf, message, PLAIN_TEXT } from '../message-schema.ts'
import { ProblemError } from '../problem.ts'

const DEFAULT_LIMIT = 50

const page = {
  limit: limit.default(DEFAULT_LIMIT),
  cursor: listCursor.optional().describe('`next_cursor` of the page before.'),
}
const MERGED = 'The id of a conversation that was merged into another one leads to that other one.'

export function conversationRoutes({
  db,
  providers,
  notifyReceipt,
}: Pick<ApiDeps, 'db' | 'providers' | 'notifyReceipt'>): ApiRoute[] {
  const receiptProviders = providers.filter(({ hasReadReceipts }) => hasReadReceipts).map(({ name }) => name)
  return [
    defineRoute(
      {
        method: 'get',
        path: '/conversations',
        operationId: 'listConversations',
        summary: 'Conversations, the one with the newest message first',
        query: z.strictObject({
          ...page,
          q: z
            .string()
            .trim()
            .min(1)
            .max(100)
            .refine(isPlainText, PLAIN_TEXT)
            .optional()
            .describe('Part of a name, username or phone number of the contact.'),
        }),
        answers: { 200: { description: 'A page of conversations.', body: listOf(conversation) } },
      },
      async ({ query }) => {
        const found = await listConversations(db, {
          limit: query.limit,
          after: query.cursor,
          search: query.q,
        })
        return { status: 200, body: listAnswer(found) }
      },
    ),
    defineRoute(
      {
        method: 'get',
        path: '/conversations/:id',
        operationId: 'getConversation',
        summary: 'A conversation',
        description: MERGED,
        params: z.object({ id }),
        answers: { 200: { description: 'The conversation.', body: conversation } },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => ({ status: 200, body: await getConversation(params.id) }),
    ),
    defineRoute(
      {
        method: 'get',
        path: '/conversations/:id/messages',
        operationId: 'listMessages',
        summary: 'The messages of a conversation, newest first',
        description: `Ordered by the provider's time. Reactions, edits and revokes are shown on the message that they are about. ${MERGED}`,
        params: z.object({ id }),
        query: z.strictObject(page),
        answers: { 200: { description: 'A page of messages.', body: listOf(message) } },
        problems: { 404: NOT_FOUND },
      },
      async ({ params, query }) => {
        const found = await listMessages(db, {
          conversationId: params.id,
          limit: query.limit,
          after: query.cursor,
        })
        if (found === undefined) throw notFound()
        return { status: 200, body: listAnswer(found) }
      },
    ),
    defineRoute(
      {
        method: 'post',
        path: '/conversations/:id/read',
        operationId: 'markAsRead',
        summary: 'Marks a conversation as read',
        description:
          'Marks every message with an id up to `message_id`. Without it all messages are marked, also one that has just ' +
          'arrived and was not shown. The contact gets a read receipt if the provider has them. Safe to repeat. ' +
          MERGED,
        params: z.object({ id }),
        body: z.strictObject({ message_id: id.optional() }).meta({ id: 'MarkAsRead' }),
        answers: { 200: { description: 'The conversation as it is now.', body: conversation } },
        problems: { 404: NOT_FOUND, 422: 'The conversation has no such message.' },
      },
      async ({ params, body }) => {
        const { message_id: messageId } = body
        const outcome = await markAsRead(db, { conversationId: params.id, messageId, receiptProviders })
        if (outcome.kind === 'conversation_not_found') throw notFound()
        if (outcome.kind === 'message_not_found') throw noSuchMessage()
        if (outcome.needsReceipt) notifyReceipt(outcome.conversation_id)
        return { status: 200, body: await getConversation(outcome.conversation_id) }
      },
    ),
  ]

  async function getConversation(conversationId: string) {
    const found = await findConversation(db, conversationId)
    if (found === undefined) throw notFound()
    return found
  }
}

const NOT_FOUND = 'There is no such conversation.'

function notFound(): ProblemError {
  return new ProblemError({ status: 404, detail: NOT_FOUND })
}

function noSuchMessage(): ProblemError {
  const detail = 'The conversation has no message with this id.'
  const errors = [{ pointer: '#/message_id', detail }]
  return new ProblemError({ status: 422, detail, extensions: { reason: 'message_not_found', errors } })
}
