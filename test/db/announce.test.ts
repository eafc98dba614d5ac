/**
 * The feed of changes misses nothing: every statement of src/db that changes a message or a conversation is run once, and
 * each row that readers then see differently has to be announced.
 */
import { globSync, readFileSync } from 'node:fs'
import { Kysely, PostgresDialect } from 'kysely'
import { beforeAll, expect, test } from 'vitest'
import type { MessageFact } from '../../src/core/fact.ts'
import { moveMergedMessages } from '../../src/db/contacts/move-messages.ts'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { identifyMessage } from '../../src/db/ingest/merge-messages.ts'
import { probeMessages } from '../../src/db/ingest/probe-messages.ts'
import type { StoreItem } from '../../src/db/ingest/store-item.ts'
import { closeForOtherCredentials } from '../../src/db/outbox/circuit-breaker.ts'
import { type Claim, claimNext } from '../../src/db/outbox/claim.ts'
import { claimForReconciliation } from '../../src/db/outbox/in-doubt-sends.ts'
import { markAsRead } from '../../src/db/outbox/mark-read.ts'
import { recordSendResult } from '../../src/db/outbox/record-result.ts'
import { createResend } from '../../src/db/outbox/resend.ts'
import { repairStatuses } from '../../src/db/outbox/status-repair.ts'
import { failExpiredSends, markLostSendsUnknown } from '../../src/db/outbox/sweep.ts'
import { reprocessMessages } from '../../src/db/reprocess/messages.ts'
import { reprocessStatuses } from '../../src/db/reprocess/statuses.ts'
import type { Database } from '../../src/db/schema.ts'
import { moveBack } from '../../src/db/split/move-back.ts'
import { splitContact } from '../../src/db/split/split-contact.ts'
import { messageItem, statusItem } from '../support/facts.ts'
import { META_PHONE_NUMBER_ID, metaMessage, metaMessagesWebhook } from '../support/meta-webhooks.ts'
import { orderText } from '../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { metaJobs, PARSER, reprocessOptions, storeJobs } from '../support/reprocessing.ts'

/** Columns that no view shows: how a row came here, and how far the sending of it is. */
const HIDDEN = {
  message: [
    'updated_at',
    'original_conversation_id',
    'callback_id',
    'detail',
    'request',
    'request_hash',
    'send_attempts',
    'send_backoffs',
    'sending_since',
    'looked_up_at',
    'not_before',
  ],
  conversation: ['original_contact_id', 'moving_since', 'control_confirmed_at'],
}

/** Changes that no kind of announcement stands for. */
const NOT_ANNOUNCED: {
  writer: string
  row: 'message' | 'conversation'
  columns: string[]
  reason: string
}[] = [
  {
    writer: 'writeBatch: contacts that turn out to be one, of which one has a conversation',
    row: 'conversation',
    columns: ['contact_id'],
    reason: 'the feed tells of messages and conversations, not of what is known about a contact',
  },
  {
    writer: 'moveMergedMessages',
    row: 'message',
    columns: ['conversation_id'],
    reason: 'readers see the message in the remaining conversation since the merge, which was announced',
  },
  {
    writer: 'writeBatch: the placeholder of a message in another conversation',
    row: 'conversation',
    columns: ['last_message_at'],
    reason:
      'the conversation that the message left; the message itself is announced with the one that it is in',
  },
]

type Writer = () => Promise<() => Promise<unknown>>

let database: TestDatabase
let db: Kysely<Database>
/** SQL of every statement that ran, with placeholders for its parameters. */
const executed: string[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  db = new Kysely<Database>({
    dialect: new PostgresDialect({ pool: database.pool }),
    log: (event) => {
      executed.push(event.query.sql)
    },
  })
})

let count = 0
const next = () => {
  count += 1
  return count
}
const uniqueId = () => `wamid.${next()}`
const uniquePhone = () => `1555000${1000 + next()}`
const write = (...items: StoreItem[]) => writeBatch(db, items)
const run = (statement: string, ...values: unknown[]) => database.pool.query(statement, values)
const conversationOf = async (message: string): Promise<string> =>
  (await run('SELECT conversation_id FROM chat_messages WHERE id::text = $1 OR wa_message_id = $1', message))
    .rows[0].conversation_id
const order = () => orderText(db, 'Hello', { to: { phone: uniquePhone() } })
const echo = (id: string, phone: string) =>
  messageItem(id, {
    source: 'echo',
    direction: 'outbound',
    business_number: META_PHONE_NUMBER_ID,
    contact: { phone },
    status: 'sent',
  })
const history = (id: string, fact: Partial<MessageFact>) => messageItem(id, { source: 'history', ...fact })
const placeholder = (id: string, phone: string) =>
  history(id, { is_placeholder: true, message_type: 'media_placeholder', contact: { phone }, status: 'read' })

async function claim(messageId: string): Promise<Claim> {
  const outcome = await claimNext(db, messageId)
  if (outcome.kind !== 'claimed') throw new Error(`not claimed: ${outcome.kind}`)
  return outcome.claim
}

/** Two contacts with a message and a waiting send each, of which one was merged into the other; returns its id. */
async function mergedContact(): Promise<string> {
  const [phone, user_id] = [uniquePhone(), `US.${next()}`]
  await write(messageItem(uniqueId(), { contact: { phone } }))
  const id = uniqueId()
  await write(messageItem(id, { contact: { user_id } }))
  await orderText(db, 'Hello', { to: { user_id } })
  const { rows } = await run('SELECT contact_id FROM conversations WHERE id = $1', await conversationOf(id))
  await write(messageItem(uniqueId(), { contact: { phone, user_id } }))
  return rows[0].contact_id
}

const moveAllBack = (splitId: string | undefined) =>
  moveBack(db, splitId ?? '', {
    reader: PARSER,
    signal: new AbortController().signal,
    onProgress: () => {},
  })

/** Each prepares rows, and gives the call that changes them. */
const WRITERS: Record<string, Writer> = {
  'writeBatch: a new message': async () => () => write(messageItem(uniqueId())),
  'writeBatch: the content of a placeholder': async () => {
    const [id, phone] = [uniqueId(), uniquePhone()]
    await write(placeholder(id, phone))
    return () => write(history(id, { message_type: 'image', contact: { phone } }))
  },
  'writeBatch: the placeholder of a message that is there': async () => {
    const [id, phone] = [uniqueId(), uniquePhone()]
    await write(history(id, { message_type: 'image', contact: { phone } }))
    return () => write(placeholder(id, phone))
  },
  'writeBatch: the placeholder of a message in another conversation': async () => {
    const id = uniqueId()
    await write(history(id, { message_type: 'image', contact: { phone: uniquePhone() } }))
    return () => write(placeholder(id, uniquePhone()))
  },
  splitContact: async () => {
    const contactId = await mergedContact()
    return () => splitContact(db, contactId)
  },
  moveBack: async () => {
    const splitId = await splitContact(db, await mergedContact())
    return () => moveAllBack(splitId)
  },
  'writeBatch: a status': async () => {
    const id = uniqueId()
    await write(echo(id, uniquePhone()))
    return () => write(statusItem(id, 'delivered', { business_number: META_PHONE_NUMBER_ID }))
  },
  'writeBatch: a status of a participant': async () => {
    const id = uniqueId()
    await write(echo(id, uniquePhone()))
    return () =>
      write(statusItem(id, 'read', { business_number: META_PHONE_NUMBER_ID, participant: uniquePhone() }))
  },
  'writeBatch: contacts that turn out to be one, each with a conversation': async () => {
    const [phone, user_id] = [uniquePhone(), `US.${uniquePhone()}`]
    await write(messageItem(uniqueId(), { contact: { phone } }))
    await write(messageItem(uniqueId(), { contact: { user_id } }))
    return () => write(statusItem(uniqueId(), 'sent', { recipient: { phone, user_id } }))
  },
  'writeBatch: contacts that turn out to be one, of which one has a conversation': async () => {
    const [phone, user_id] = [uniquePhone(), `US.${uniquePhone()}`]
    const parent_user_id = `US.ENT.${user_id}`
    await write(statusItem(uniqueId(), 'sent', { recipient: { phone, user_id } }))
    await write(messageItem(uniqueId(), { contact: { parent_user_id } }))
    return () => write(statusItem(uniqueId(), 'sent', { recipient: { phone, user_id, parent_user_id } }))
  },
  moveMergedMessages: async () => {
    const [phone, user_id, id] = [uniquePhone(), `US.${uniquePhone()}`, uniqueId()]
    await write(messageItem(uniqueId(), { contact: { phone } }))
    await write(messageItem(id, { contact: { user_id } }))
    const client = await database.pool.connect()
    await client.query('BEGIN')
    await client.query('SELECT FROM chat_messages WHERE wa_message_id = $1 FOR UPDATE', [id])
    await write(statusItem(uniqueId(), 'sent', { recipient: { phone, user_id } }))
    await client.query('COMMIT')
    client.release()
    return () => moveMergedMessages(db)
  },
  'writeBatch: another app gets control': async () => {
    const phone = uniquePhone()
    await write(messageItem(uniqueId(), { contact: { phone }, sent_at: new Date(1_000) }))
    return () =>
      write(messageItem(uniqueId(), { contact: { phone }, source: 'standby', sent_at: new Date(2_000) }))
  },
  'writeBatch: control comes back with an ordinary message': async () => {
    const phone = uniquePhone()
    const contact = { phone }
    await write(messageItem(uniqueId(), { contact, source: 'standby', sent_at: new Date(1_000) }))
    return () => write(messageItem(uniqueId(), { contact, sent_at: new Date(2_000) }))
  },
  'writeBatch: conversations that turn out to be one, of which another app holds one': async () => {
    const [phone, user_id] = [uniquePhone(), `US.${uniquePhone()}`]
    await write(messageItem(uniqueId(), { contact: { phone } }))
    await write(
      messageItem(uniqueId(), { contact: { user_id }, source: 'standby', sent_at: new Date(1_000) }),
    )
    return () => write(statusItem(uniqueId(), 'sent', { recipient: { phone, user_id } }))
  },
  'identifyMessage: a message that was sent': async () => {
    const id = await order()
    return () => identifyMessage(db, { message_id: id, wa_message_id: uniqueId() })
  },
  'identifyMessage: a message whose echo is stored': async () => {
    const [id, wa_message_id] = [await order(), uniqueId()]
    await write(echo(wa_message_id, uniquePhone()))
    return () => identifyMessage(db, { message_id: id, wa_message_id })
  },
  repairStatuses: async () => {
    const [id, wa_message_id] = [await order(), uniqueId()]
    await write(statusItem(wa_message_id, 'failed'))
    await run('UPDATE chat_messages SET wa_message_id = $2 WHERE id = $1', id, wa_message_id)
    return () => repairStatuses(db, { limit: 10, maxAgeMs: 60_000 })
  },
  createOutboundMessage: async () => order,
  createResend: async () => {
    const id = await order()
    await run(`UPDATE chat_messages SET status = 'failed' WHERE id = $1`, id)
    return () => createResend(db, id, { idempotencyKey: uniqueId(), requestHash: 'hash' })
  },
  'claimNext: an answer to a message that may have been sent': async () => {
    const target = await order()
    await run(`UPDATE chat_messages SET status = 'unknown' WHERE id = $1`, target)
    const conversation_id = await conversationOf(target)
    const id = await orderText(db, 'Answer', { conversation_id, reply_to_message_id: target })
    return () => claimNext(db, id)
  },
  'claimNext: a message that can be sent': async () => {
    const id = await order()
    return () => claim(id)
  },
  'claimNext: a message that reaches nobody': async () => {
    const phone = uniquePhone()
    await write(messageItem(uniqueId(), { business_number: META_PHONE_NUMBER_ID, contact: { phone } }))
    const { rows } = await run('SELECT contact_id FROM contact_identifiers WHERE value = $1', phone)
    const conversation = await run('SELECT id FROM conversations WHERE contact_id = $1', rows[0]?.contact_id)
    const id = await orderText(db, 'Hello', { conversation_id: conversation.rows[0].id })
    await run('DELETE FROM contact_identifiers WHERE value = $1', phone)
    await run('UPDATE contacts SET phone = NULL WHERE id = $1', rows[0]?.contact_id)
    return () => claimNext(db, id)
  },
  'recordSendResult: failed': async () => {
    const sent = await claim(await order())
    return () =>
      recordSendResult(
        db,
        sent,
        { kind: 'failed', error: { code: 131026, message: 'Undeliverable' } },
        'digest',
      )
  },
  closeForOtherCredentials: async () => {
    const sent = await claim(await order())
    const stopped = { kind: 'stop_sender', error: { code: 190, message: 'expired' } } as const
    await recordSendResult(db, sent, stopped, 'digest')
    return () => closeForOtherCredentials(db, { meta: 'another' })
  },
  markLostSendsUnknown: async () => {
    await claim(await order())
    await run(`UPDATE chat_messages SET sending_since = now() - interval '1 day' WHERE status = 'sending'`)
    return () => markLostSendsUnknown(db)
  },
  claimForReconciliation: async () => {
    await claim(await order())
    await run(`
      UPDATE chat_messages SET status = 'unknown', sending_since = now() - interval '10 minutes'
      WHERE status = 'sending'`)
    return () => claimForReconciliation(db, 'meta')
  },
  failExpiredSends: async () => {
    await order()
    await run(`UPDATE chat_messages SET created_at = now() - interval '30 days' WHERE status = 'queued'`)
    return () => failExpiredSends(db)
  },
  markAsRead: async () => {
    const id = uniqueId()
    await write(messageItem(id))
    const conversationId = await conversationOf(id)
    return () => markAsRead(db, { conversationId, receiptProviders: [] })
  },
  probeMessages: async () => () => probeMessages(db, [messageItem(uniqueId())]),
  reprocessMessages: async () => {
    const id = uniqueId()
    await storeJobs(database, metaJobs(metaMessagesWebhook([metaMessage({ id })])))
    await run('UPDATE chat_messages SET content = NULL WHERE wa_message_id = $1', id)
    return () => reprocessMessages(db, PARSER, reprocessOptions())
  },
  reprocessStatuses: async () => {
    const id = uniqueId()
    await write(echo(id, uniquePhone()))
    await write(statusItem(id, 'failed', { business_number: META_PHONE_NUMBER_ID }))
    await run(
      'UPDATE message_statuses SET errors = NULL, payload = $1 WHERE wa_message_id = $2',
      FAILED(id),
      id,
    )
    return () => reprocessStatuses(db, PARSER, reprocessOptions())
  },
}

const FAILED = (id: string) =>
  JSON.stringify({
    id,
    status: 'failed',
    timestamp: '1780315200',
    recipient_id: '1',
    errors: [{ code: 131049 }],
  })

/** Writers of hidden columns alone, and one that rolls back. */
const UNSEEN = ['claimForReconciliation', 'closeForOtherCredentials', 'probeMessages']

test.each(Object.keys(WRITERS))('every row that it changes is announced: %s', async (name) => {
  const changeRows = await WRITERS[name]?.()
  await run('DELETE FROM changes')
  const before = await snapshot()

  await changeRows?.()

  const after = await snapshot()
  const announced = (await run('SELECT kind, conversation_id, message_id, merged_into FROM changes')).rows
  const changed = changesBetween(before, after)
  expect(changed.length, 'rows that changed').toBeGreaterThan(UNSEEN.includes(name) ? -1 : 0)
  expect(
    changed.filter((change) => !isException(change, name) && !isAnnounced(change, announced, after)),
  ).toEqual([])
  // And none that did not change.
  const ids = new Set(changed.map(({ row, id }) => `${row} ${id}`))
  expect(
    announced.filter(({ message_id, conversation_id }) =>
      message_id === null ? !ids.has(`conversation ${conversation_id}`) : !ids.has(`message ${message_id}`),
    ),
  ).toEqual([])
})

test('every statement that changes a message or a conversation is run by one of them', () => {
  const missed = writingStatements().filter(({ pattern }) => !executed.some((sql) => pattern.test(sql)))

  expect(
    missed.map(({ file, text }) => `${file}: ${text}`),
    'statements that no writer above runs',
  ).toEqual([])
})

type Row = Record<string, unknown>
type Snapshot = Record<'message' | 'conversation', Map<string, Row>>
type RowChange = { row: 'message' | 'conversation'; id: string; before?: Row; after?: Row; columns: string[] }
type Announcement = {
  kind: string
  conversation_id: string
  message_id: string | null
  merged_into: string | null
}

/** Part of the view of a message, and no column. */
const RESENT_AS = `|| jsonb_build_object('resent_as', (SELECT r.id FROM chat_messages r WHERE r.resend_of = t.id))`

async function snapshot(): Promise<Snapshot> {
  const read = async (table: string, hidden: string[], derived = '') => {
    const { rows } = await run(
      `SELECT id, to_jsonb(t) - $1::text[] ${derived} AS row FROM ${table} t`,
      hidden,
    )
    return new Map<string, Row>(rows.map(({ id, row }) => [id, row]))
  }
  return {
    message: await read('chat_messages', HIDDEN.message, RESENT_AS),
    conversation: await read('conversations', HIDDEN.conversation),
  }
}

function changesBetween(before: Snapshot, after: Snapshot): RowChange[] {
  return (['message', 'conversation'] as const).flatMap((row) => {
    const ids = new Set([...before[row].keys(), ...after[row].keys()])
    return [...ids].flatMap((id) => {
      const [was, is] = [before[row].get(id), after[row].get(id)]
      const columns = Object.keys({ ...was, ...is }).filter(
        (name) => JSON.stringify(was?.[name]) !== JSON.stringify(is?.[name]),
      )
      if (columns.length === 0) return []
      return { row, id, columns, ...(was && { before: was }), ...(is && { after: is }) }
    })
  })
}

function isException({ row, columns }: RowChange, writer: string): boolean {
  return NOT_ANNOUNCED.some(
    (exception) =>
      exception.writer === writer &&
      exception.row === row &&
      columns.every((column) => exception.columns.includes(column)),
  )
}

/** A merge of conversations also stands for the messages that moved by it, and for the conversation that they moved to. */
function isAnnounced(change: RowChange, announced: readonly Announcement[], after: Snapshot): boolean {
  const mergedInto = (id: string) => String(after.conversation.get(id)?.merged_into)
  const hasOnlyMoved = change.columns.every((column) => column === 'conversation_id')
  return announced.some(({ kind, conversation_id, message_id }) => {
    const isMerge = kind === 'conversation.merged'
    if (change.row === 'conversation')
      return conversation_id === change.id || (isMerge && mergedInto(conversation_id) === change.id)
    if (isMerge) return hasOnlyMoved && String(change.before?.conversation_id) === conversation_id
    if (change.before === undefined) return kind === 'message.created' && message_id === change.id
    if (change.after === undefined) return kind === 'message.merged' && message_id === change.id
    return message_id === change.id
  })
}

/**
 * Every statement in the source that writes to one of the tables, as a pattern for the SQL that it becomes. What an operator's
 * commands write (dedupe/, adopt/) is no part of the feed: they run before anybody reads it.
 */
function writingStatements(): { file: string; text: string; pattern: RegExp }[] {
  const files = globSync('src/db/**/*.ts').filter((file) => !/^src\/db\/(?:dedupe|adopt)\//.test(file))
  const statement =
    /(?<!EXPLAIN )\b(?:UPDATE|INSERT INTO|DELETE FROM) (?:chat_messages|conversations)\b[^`]*?(?=`|\bRETURNING\b)/g
  return files.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(statement)].map(([text]) => ({
      file,
      text,
      pattern: new RegExp(
        text
          .split(/\$\{(?:[^{}]|\{[^{}]*\})*\}/)
          .map((part) =>
            part.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`).replaceAll(/\s+/g, String.raw`\s+`),
          )
          .join(String.raw`[\s\S]*?`),
      ),
    })),
  )
}
