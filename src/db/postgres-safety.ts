/**
 * Checks that a committed row survives a crash and that a message is stored once: both depend on settings that the owner of
 * the database can change at any time.
 */
import type { Pool } from 'pg'
import { checkClock } from '../core/clock-skew.ts'
import type { SettingFinding } from '../core/setting-finding.ts'
import { sqlStateOf } from './errors.ts'

/** Oldest version with which the batch writer and BullMQ's PostgreSQL backend work. */
const MIN_VERSION = 13

const SETTING_ADVICE = {
  fsync: 'a crash of the machine can corrupt the database; set fsync = on in postgresql.conf',
  full_page_writes:
    'a crash of the machine can tear pages apart; set full_page_writes = on in postgresql.conf',
  synchronous_commit:
    'a crash loses the last messages that were acknowledged; set synchronous_commit = on for this role and database',
} as const

export type PostgresSafetyOptions = {
  /** Connected through a pooler. It accepts no time-outs from clients, so they have to be set in the pooler. */
  isPooled?: boolean
  /** The clock of this machine, in milliseconds since 1970. */
  now?: () => number
}

/**
 * The unsafe settings of this database, for the role that the pool connects as. Empty: all are safe.
 * @throws when the server cannot be reached
 */
export async function checkPostgresSafety(
  pool: Pick<Pool, 'query'>,
  { isPooled = false, now }: PostgresSafetyOptions = {},
): Promise<SettingFinding[]> {
  const findings = await Promise.all([
    checkSettings(pool),
    checkUnloggedTables(pool),
    checkUniqueIndex(pool),
    checkClock('postgresql', () => readTime(pool), now),
    isPooled ? checkTimeouts(pool) : [],
  ])
  return findings.flat()
}

async function readTime(pool: Pick<Pool, 'query'>): Promise<number> {
  const { rows } = await pool.query<{ ms: number }>(
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms',
  )
  return rows[0]?.ms ?? Number.NaN
}

const TIMEOUTS = {
  statement_timeout: 'a statement that hangs keeps its connection of the pool',
  idle_in_transaction_session_timeout: 'a process that stands still in a transaction keeps its locks',
} as const

async function checkTimeouts(pool: Pick<Pool, 'query'>): Promise<SettingFinding[]> {
  const { rows } = await pool.query<{ name: keyof typeof TIMEOUTS }>(
    `SELECT name FROM pg_settings WHERE name = ANY ($1) AND setting = '0' ORDER BY name`,
    [Object.keys(TIMEOUTS)],
  )
  return rows.map(({ name }) =>
    unsafe(
      name,
      '0',
      'a few seconds',
      `${TIMEOUTS[name]}; set it where the pooler opens connections (docs/startup-checks.md, "PgBouncer")`,
    ),
  )
}

async function checkSettings(pool: Pick<Pool, 'query'>): Promise<SettingFinding[]> {
  const { rows } = await pool.query<{ name: string; setting: string }>(
    'SELECT name, setting FROM pg_settings WHERE name = ANY ($1)',
    [[...Object.keys(SETTING_ADVICE), 'server_version_num']],
  )
  const settings = new Map(rows.map(({ name, setting }) => [name, setting]))
  const off = Object.entries(SETTING_ADVICE)
    .filter(([name]) => settings.get(name) === 'off')
    .map(([name, advice]) => unsafe(name, 'off', 'on', advice))
  const version = Math.floor(Number(settings.get('server_version_num')) / 10_000)
  if (version >= MIN_VERSION) return off
  return [...off, unsafe('version', String(version), `${MIN_VERSION} or later`, 'upgrade the server')]
}

/** PostgreSQL empties an unlogged table after a crash. */
async function checkUnloggedTables(pool: Pick<Pool, 'query'>): Promise<SettingFinding[]> {
  const { rows } = await pool.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class
      WHERE relpersistence = 'u' AND oid IN (to_regclass('chat_messages'), to_regclass('message_statuses'),
        to_regclass('webhook_events'), to_regclass('conversations'), to_regclass('contacts'))`,
  )
  return rows.map(({ name }) =>
    unsafe(`table ${name}`, 'unlogged', 'logged', `a crash empties it; ALTER TABLE ${name} SET LOGGED`),
  )
}

/**
 * Has PostgreSQL plan an INSERT with the conflict target of the batch writer. The planner accepts a unique index only when it
 * is valid and covers the predicate; its name alone would not tell.
 */
async function checkUniqueIndex(pool: Pick<Pool, 'query'>): Promise<SettingFinding[]> {
  try {
    await pool.query(
      `EXPLAIN INSERT INTO chat_messages (wa_message_id) VALUES ('')
        ON CONFLICT (wa_message_id) WHERE wa_message_id IS NOT NULL AND wa_message_id <> '' DO NOTHING`,
    )
    return []
  } catch (err) {
    const problem = INDEX_PROBLEMS[sqlStateOf(err) ?? '']
    if (problem === undefined) throw err
    return [unsafe('unique index on chat_messages (wa_message_id)', problem.actual, 'valid', problem.advice)]
  }
}

const INDEX_PROBLEMS: Record<string, { actual: string; advice: string } | undefined> = {
  // invalid_column_reference: no unique index matches
  '42P10': {
    actual: 'missing or invalid',
    advice: 'nothing is stored without it; run npx wa-ingest dedupe, then npx wa-ingest migrate',
  },
  // undefined_table, undefined_column
  '42P01': { actual: 'without its table', advice: 'run npx wa-ingest migrate' },
  '42703': { actual: 'without its column', advice: 'run npx wa-ingest migrate' },
  // insufficient_privilege
  '42501': { actual: 'out of reach', advice: 'GRANT SELECT, INSERT, UPDATE ON chat_messages to this role' },
}

function unsafe(setting: string, actual: string, expected: string, advice: string): SettingFinding {
  return { setting: `postgresql ${setting}`, actual, expected, severity: 'unsafe', advice }
}
