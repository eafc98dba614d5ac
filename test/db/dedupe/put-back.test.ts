/** The SQL for moved rows in docs/adopting.md, run as it is written there. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { adopt, createOldChat, SEED } from '../adopt/old-chat.ts'
import { apply, rows } from './old-table.ts'

const PAGE = readFileSync(new URL('../../../docs/adopting.md', import.meta.url), 'utf8')

function sqlOf(name: string): string {
  const sql = new RegExp(`\`\`\`sql ${name}\n([\\s\\S]*?)\`\`\``).exec(PAGE)?.[1]
  if (sql === undefined) throw new Error(`docs/adopting.md has no block ${name}`)
  return sql
}

async function createCleaned() {
  const database = await createOldChat(
    SEED,
    `INSERT INTO chat_messages (id, conversation_id, wa_message_id, content)
       VALUES (512, 1, 'wamid.A', 'first'), (513, 1, 'wamid.A', 'second')`,
  )
  await apply(database)
  return database
}

test.each([
  ['right after the run', false],
  ['after the table was taken over', true],
])('a moved row can be put back %s', async (_when, isAdopted) => {
  const database = await createCleaned()
  if (isAdopted) await adopt(database)

  await database.pool.query(sqlOf('put-back'))

  const found = await rows(
    database,
    'SELECT id::int, conversation_id::int, wa_message_id, content FROM chat_messages ORDER BY id',
  )
  expect(found).toEqual([
    { id: 512, conversation_id: 1, wa_message_id: 'wamid.A', content: 'first' },
    { id: 513, conversation_id: 1, wa_message_id: null, content: 'second' },
  ])
  expect(await rows(database, 'SELECT FROM chat_messages_duplicates')).toEqual([])
})

test('a moved row can take the place of the kept one', async () => {
  const database = await createCleaned()

  await database.pool.query(sqlOf('take-its-place'))

  expect(await rows(database, 'SELECT id, content FROM chat_messages')).toEqual([
    { id: 512, content: 'second' },
  ])
})
