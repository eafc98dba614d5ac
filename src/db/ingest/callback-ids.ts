/**
 * Finds the provider's id of an outbound message by its callback_id, which statuses and echoes carry: also when the response
 * to the send was lost, or has not arrived yet.
 */
import { type Kysely, sql } from 'kysely'
import type { MessageFact, StatusFact } from '../../core/fact.ts'
import type { ChoosesNumber } from '../../core/outbound.ts'
import type { Database } from '../schema.ts'
import { identifyMessage } from './merge-messages.ts'

/**
 * Sets the wa_message_id of outbound messages that have none yet, and applies their statuses. A callback_id counts only together
 * with the business number: every app of a business account sees the callback ids of the others. Safe to repeat.
 */
export async function identifyByCallback(
  db: Kysely<Database>,
  facts: readonly (MessageFact | StatusFact)[],
  choosesNumber: ChoosesNumber,
): Promise<void> {
  const withCallback = facts.filter((fact) => fact.callback_id !== undefined && !isInbound(fact))
  if (withCallback.length === 0) return
  const waiting = await findWithoutId(
    db,
    withCallback.map((fact) => fact.callback_id ?? ''),
  )
  for (const fact of withCallback) {
    const message = waiting.get(fact.callback_id ?? '')
    if (message?.provider !== fact.provider) continue
    const { id: message_id, provider, business_number } = message
    const isNumberChosen = choosesNumber(provider, business_number)
    if (!isNumberChosen && fact.business_number !== business_number) continue
    await identifyMessage(db, { message_id, wa_message_id: fact.wa_message_id, isNumberChosen })
  }
}

type WaitingMessage = { id: string; callback_id: string; provider: string; business_number: string }

async function findWithoutId(
  db: Kysely<Database>,
  callbackIds: readonly string[],
): Promise<Map<string, WaitingMessage>> {
  const { rows } = await sql<WaitingMessage>`
    SELECT m.id, m.callback_id, c.provider, c.business_number
    FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.callback_id = ANY(${callbackIds}::uuid[]) AND m.source = 'api' AND m.wa_message_id IS NULL`.execute(
    db,
  )
  return new Map(rows.map((row) => [row.callback_id, row]))
}

function isInbound(fact: MessageFact | StatusFact): boolean {
  return fact.kind === 'message' && fact.direction === 'inbound'
}
