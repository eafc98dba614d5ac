/** `wa-ingest split`: undoes a merge of two contacts. */
import type { Kysely } from 'kysely'
import { createDatabase } from '../db/connect.ts'
import { assertSchemaIsCurrent } from '../db/migrate.ts'
import type { Database } from '../db/schema.ts'
import {
  findContacts,
  findMerged,
  type MergedContact,
  previewSplit,
  type SplitPreview,
} from '../db/split/merged-contacts.ts'
import { findUnfinishedSplit, moveBack } from '../db/split/move-back.ts'
import { splitContact } from '../db/split/split-contact.ts'
import { normalize, reparse } from '../providers/index.ts'
import {
  type Command,
  type CommandContext,
  flagOption,
  textOption,
  UsageError,
  writeJson,
  writeLine,
} from './command.ts'
import { openCommandDatabase } from './command-database.ts'
import { commandProgress, formatCount } from './progress.ts'

const EXIT_STOPPED = 130

export const command: Command = {
  name: 'split',
  summary: 'undo a merge of two contacts that are two people; --apply does it',
  usage: `
wa-ingest split makes a contact that was merged into another one a contact of its own again. Without
--apply it only reports what it would do, and what cannot be restored.

- Its phone numbers and user ids from before the merge are its own again, and so are its
  conversations with their messages. Messages that came since the merge go with it if they name one of
  its user ids, or if the other contact had no conversation with that number of ours.
- What cannot be told stays with the other contact: identifiers and messages that came since the merge
  without a user id of it.
- No phone number joins the two again. A message that names user ids of both, or a change of number or
  user id from one to the other, does: then the provider says that they are one.

It can run beside the service, be stopped with Ctrl-C and be started again.

Usage: npx wa-ingest split --contact CONTACT [options]

  --contact CONTACT   a contact's id, phone number (+15551230001) or user id. The contact that was merged
                      is split; for the other one, the merges are listed
  --apply             do it
  --database-url URL  database (DATABASE_DIRECT_URL, DATABASE_URL, or the embedded one in DATA_DIR)
  --json              the result as one JSON document
  --quiet             no progress
  -h, --help          this text

Ends with 1 when nothing was merged, or an earlier version merged it and recorded nothing; with 130 when
it was stopped.

Examples:
  npx wa-ingest split --contact +15551230001
  npx wa-ingest split --contact 4711 --apply`,
  options: {
    contact: { type: 'string' },
    apply: { type: 'boolean' },
    'database-url': { type: 'string' },
    json: { type: 'boolean' },
    quiet: { type: 'boolean' },
  },
  run: split,
}

type Result = {
  applied: boolean
  /** Ctrl-C came first: the same command goes on. */
  stopped: boolean
  /** What splitting each of these contacts would do. */
  merges: SplitPreview[]
  messages_moved?: number
}

async function split(ctx: CommandContext): Promise<number> {
  const contact = textOption(ctx.values, 'contact')
  if (contact === undefined)
    throw new UsageError('--contact is missing: a contact id, phone number or user id')
  const database = await openCommandDatabase(ctx, { applicationName: 'wa-ingest split', max: 2 })
  const db = createDatabase(database.pool)
  try {
    await assertSchemaIsCurrent(db)
    const result = flagOption(ctx.values, 'apply')
      ? await apply(ctx, db, contact)
      : { applied: false, stopped: false, merges: await previewAll(db, contact) }
    if (ctx.values.json === true) writeJson(ctx.stdout, result)
    else writeLine(ctx.stdout, formatResult(result))
    return result.stopped ? EXIT_STOPPED : 0
  } finally {
    await database.close()
  }
}

async function previewAll(db: Kysely<Database>, text: string): Promise<SplitPreview[]> {
  const merged = await mergedContacts(db, text)
  if (merged.length === 0) throw new Error(`nothing was merged into the contact ${text}`)
  return Promise.all(merged.map((contact) => previewSplit(db, contact)))
}

/** @throws Error when there is no such contact */
async function mergedContacts(db: Kysely<Database>, text: string): Promise<MergedContact[]> {
  const ids = await findContacts(db, text)
  if (ids.length === 0) throw new Error(`no contact is known as ${text}`)
  return (await Promise.all(ids.map((id) => findMerged(db, id)))).flat()
}

async function apply(ctx: CommandContext, db: Kysely<Database>, text: string): Promise<Result> {
  const unfinished = await findUnfinished(db, text)
  const previews = unfinished === undefined ? await previewAll(db, text) : []
  const [preview, ...others] = previews
  if (others.length > 0)
    throw new Error(
      `${previews.length} contacts were merged into it: give the id of one, ${previews.map(({ contact }) => contact.id).join(' or ')}`,
    )
  const splitId = unfinished ?? (preview && (await splitContact(db, preview.contact.id)))
  if (splitId === undefined)
    throw new Error(
      `an earlier version merged the contact ${preview?.contact.id}, and did not record what was whose`,
    )
  const progress = commandProgress(ctx, 'messages')
  try {
    const { moved, isDone } = await moveBack(db, splitId, {
      reader: { reparse, normalize },
      signal: ctx.signal,
      onProgress: (moved) => progress.update(moved),
    })
    return { applied: true, stopped: !isDone, merges: previews, messages_moved: moved }
  } finally {
    progress.finish()
  }
}

/** A split of this contact, or of one that is known as that, which was stopped before all messages had moved. */
async function findUnfinished(db: Kysely<Database>, text: string): Promise<string | undefined> {
  for (const id of await findContacts(db, text)) {
    const unfinished = await findUnfinishedSplit(db, id)
    if (unfinished !== undefined) return unfinished
  }
  return undefined
}

function formatResult({ applied, stopped, merges, messages_moved }: Result): string {
  const verdict = stopped
    ? 'Stopped. The same command goes on where it was.'
    : applied
      ? `Done: ${formatCount(messages_moved ?? 0)} messages moved.`
      : 'Nothing was changed. To do it: npx wa-ingest split --contact ID --apply'
  return [...merges.map(formatPreview), verdict].join('\n\n')
}

function formatPreview({
  contact,
  identifiers,
  conversations,
  messages,
  since,
  isRejoinable,
}: SplitPreview): string {
  const { id, name, survivor_id, survivor_name, merged_at } = contact
  const title = `Contact ${id} (${name ?? 'no name'}), merged into ${survivor_id} (${survivor_name ?? 'no name'})`
  if (merged_at === null)
    return `${title}\n  by an earlier version, which did not record what was whose: it cannot be split`
  const list = (values: readonly { value: string }[]) => values.map(({ value }) => value).join(', ') || 'none'
  return [
    `${title} on ${merged_at.toISOString()}`,
    `  gets back        ${list(identifiers.returned)}`,
    `  the other keeps  ${list(identifiers.kept)}`,
    `  conversations    ${formatCount(conversations.separated)} separated with ${formatCount(messages)} messages, ${formatCount(conversations.whole)} go whole`,
    `  since the merge  ${formatCount(since)} messages; those that name one of its user ids go with it, the others stay`,
    ...(isRejoinable
      ? [
          '  One of the two has no user id of its own: the number alone does not join them again, but a message',
          '  with user ids of both, or a change from one to the other, does.',
        ]
      : []),
  ].join('\n')
}
