import { expect, test } from 'vitest'
import { STATUS_RANKS, statusRank } from '../../../src/core/status.ts'
import { statusOrder } from '../../../src/db/ingest/status-order.ts'
import { createTestDatabase } from '../../support/postgres.ts'

const UNKNOWN_WORDS = [
  '',
  'deleted',
  'warning',
  'in_orbit',
  'SENT',
  'sent ',
  'toString',
  '__proto__',
  'sent; --',
]

test('wa_status_rank and core/status.ts give every word the same rank, and none to others', async () => {
  const { pool } = await createTestDatabase()
  const words = [...Object.keys(STATUS_RANKS), ...UNKNOWN_WORDS]

  const { rows } = await pool.query(
    'SELECT word, wa_status_rank(word) AS rank FROM unnest($1::text[]) WITH ORDINALITY AS w (word, i) ORDER BY i',
    [words],
  )

  expect(rows).toEqual(words.map((word) => ({ word, rank: statusRank(word) ?? null })))
})

test('wa_status_rank knows no word that core/status.ts does not know', async () => {
  const { pool } = await createTestDatabase()

  const { rows } = await pool.query(`SELECT pg_get_functiondef('wa_status_rank'::regproc) AS definition`)
  const words = [...String(rows[0].definition).matchAll(/WHEN '([^']*)'/g)].map(([, word]) => word)

  expect(words.sort()).toEqual(Object.keys(STATUS_RANKS).sort())
})

test('an unknown word has the rank NULL, so that it changes no message', async () => {
  const { pool } = await createTestDatabase()

  const { rows } = await pool.query('SELECT wa_status_rank(NULL) AS rank')

  expect(rows).toEqual([{ rank: null }])
})

test('statusOrder puts none first, then words without a rank, then those with one; equal ones by the bytes of their names', async () => {
  const { pool } = await createTestDatabase()
  const ordered = [
    null,
    'Zooming',
    'a-word',
    'zooming',
    'queued',
    'sending',
    'failed',
    'undelivered',
    'delivered',
    'read',
  ]

  const { rows } = await pool.query(
    `SELECT coalesce(array_agg(word ORDER BY ${statusOrder('word')}), '{}') AS words FROM unnest($1::text[]) word`,
    [ordered.toReversed()],
  )

  expect(rows[0].words).toEqual(ordered)
})
