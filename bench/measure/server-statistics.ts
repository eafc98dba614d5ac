/** With --profile: statistics of the servers about their time, from the first request until everything was stored. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Redis } from 'ioredis'
import type { Client } from 'pg'
import { withClient } from '../../rig/with-client.ts'
import { formatTable } from '../../src/cli/table.ts'
import { withRedis } from '../../test/support/redis-server.ts'

export type ServerStatistics = {
  /** Starts counting. */
  reset(): Promise<void>
  /** Writes the statistics as text files. */
  write(): Promise<void>
}

export type ServerStatisticsOptions = {
  databaseUrl: string
  redisUrl: string | undefined
  directory: string
  /** Of the measurement; begins the names of the files. */
  name: string
}

/** Loaded at the start of the server, see postgres.ts. */
export const STATEMENTS_LIBRARY = 'pg_stat_statements'

const STATEMENTS_SHOWN = 15
const STATEMENT_CHARACTERS = 110

export function createServerStatistics(options: ServerStatisticsOptions): ServerStatistics {
  const { databaseUrl, redisUrl, directory, name } = options
  mkdirSync(directory, { recursive: true })
  const write = (server: string, text: string) =>
    writeFileSync(path.join(directory, `${name}-${server}.txt`), `${text}\n`)
  return {
    reset: async () => {
      await withClient(databaseUrl, async (client) => {
        await client.query(`CREATE EXTENSION IF NOT EXISTS ${STATEMENTS_LIBRARY}`)
        await client.query('SELECT pg_stat_statements_reset()')
      })
      if (redisUrl !== undefined) await withRedis(redisUrl, (redis) => redis.config('RESETSTAT'))
    },
    write: async () => {
      write('postgres', await withClient(databaseUrl, readStatements))
      if (redisUrl !== undefined) write('redis', await withRedis(redisUrl, readCommands))
    },
  }
}

async function readStatements(client: Client): Promise<string> {
  const { rows } = await client.query<{ query: string; calls: string; rows: string; ms: number }>(
    `SELECT query, calls, rows, total_exec_time + total_plan_time AS ms FROM pg_stat_statements
     WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
     ORDER BY ms DESC LIMIT ${STATEMENTS_SHOWN}`,
  )
  return formatTable([
    ['statement', 'calls', 'rows', 'ms'],
    ...rows.map(({ query, calls, rows: count, ms }) => [
      query.replace(/\s+/g, ' ').slice(0, STATEMENT_CHARACTERS),
      calls,
      count,
      ms.toFixed(0),
    ]),
  ])
}

async function readCommands(redis: Redis): Promise<string> {
  const info = await redis.info('commandstats')
  const commands = [...info.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+),usec_per_call=([\d.]+)/gm)]
  const byTime = commands.sort(([, , , a], [, , , b]) => Number(b) - Number(a))
  return formatTable([
    ['command', 'calls', 'ms', 'µs each'],
    ...byTime.map(([, name = '', calls = '', us = '', each = '']) => [
      name,
      calls,
      (Number(us) / 1_000).toFixed(0),
      each,
    ]),
  ])
}
