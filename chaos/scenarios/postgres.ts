/** A PostgreSQL that dies, restarts, hangs, refuses writes or connections, or has no room. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { fillUp, mountMemory, whyNoMounts } from '../world/mounts.ts'
import { BACKENDS } from '../world/world.ts'

const SECOND = 1_000
const AWAY_MS = 5 * SECOND

export const postgresKill: Scenario = {
  name: 'postgres-kill',
  promise: 'kill -9 of PostgreSQL at any moment loses nothing; workers go on when it is back',
  backends: BACKENDS,
  seconds: 10,
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 3 * SECOND)
      await ctx.world.postgres.kill()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const postgresRestart: Scenario = {
  name: 'postgres-restart',
  promise: 'PostgreSQL is away for 5 s: the queue holds, and nobody has to be started again',
  backends: BACKENDS,
  seconds: 10,
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      await ctx.world.postgres.restart(AWAY_MS)
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const postgresFrozen: Scenario = {
  name: 'postgres-frozen',
  promise: 'PostgreSQL hangs for 5 s (SIGSTOP): the queue holds, and what was under way is stored once',
  backends: BACKENDS,
  seconds: 10,
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      ctx.world.postgres.freeze()
      await ctx.pause(AWAY_MS)
      ctx.world.postgres.thaw()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const postgresHalfOpen: Scenario = {
  name: 'postgres-half-open',
  promise: 'connections to PostgreSQL die without a word, new ones work: everything recovers by itself',
  backends: BACKENDS,
  seconds: 10,
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      ctx.world.postgresRelay.sever()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const postgresReadOnly: Scenario = {
  name: 'postgres-read-only',
  promise: 'PostgreSQL takes no writes for 5 s: nothing is parked or lost, and writing goes on by itself',
  backends: BACKENDS,
  seconds: 10,
  async run(ctx) {
    const { postgres } = ctx.world
    const setReadOnly = async (value: 'on' | 'off') => {
      await postgres.query(`ALTER SYSTEM SET default_transaction_read_only = ${value}`)
      await postgres.query('SELECT pg_reload_conf()')
    }
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      await setReadOnly('on')
      await ctx.pause(AWAY_MS)
      await setReadOnly('off')
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

const SMALL_DISK = '160m'

export const postgresFull: Scenario = {
  name: 'postgres-full',
  promise:
    'the disk of PostgreSQL is full for 5 s: nothing is parked or lost, and it goes on when there is room',
  backends: BACKENDS,
  seconds: 10,
  unavailable: whyNoMounts,
  load: { rate: 20 },
  world: {
    postgresSettings: { max_wal_size: '48MB', min_wal_size: '32MB' },
    placeStores: async (directory, releases) => ({
      postgres: await mountMemory(directory, 'small-disk', SMALL_DISK, releases),
    }),
  },
  async run(ctx) {
    const { postgres, directory } = ctx.world
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      const ballast = fillUp(`${directory}/small-disk`)
      // Until a write has met it: the pages that are there already take some.
      await ctx.until('PostgreSQL feels that its disk is full', 20 * SECOND, () => feelsFull(ctx))
      await ctx.pause(AWAY_MS)
      ballast.remove()
      await postgres.untilUp()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

async function feelsFull({ world }: ScenarioContext): Promise<boolean> {
  try {
    await world.postgres.query('CREATE TABLE IF NOT EXISTS chaos_ballast (data text)')
    await world.postgres.query(`INSERT INTO chaos_ballast SELECT string_agg(md5(random()::text), '')
      FROM generate_series(1, 20000)`)
    return false
  } catch {
    return true
  }
}

export const connectionStorm: Scenario = {
  name: 'postgres-connection-storm',
  promise:
    'every connection slot of PostgreSQL is taken for 5 s, and the service has lost its own: nothing is lost',
  backends: BACKENDS,
  seconds: 10,
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      const storm = await takeEverySlot(ctx)
      await ctx.pause(AWAY_MS)
      await storm.end()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

/** Ends the service's sessions and takes their places faster than it can come back. */
async function takeEverySlot({ world }: ScenarioContext): Promise<{ end(): Promise<void> }> {
  const clients: pg.Client[] = []
  let isOver = false
  const takeSlots = async () => {
    while (!isOver) {
      const client = new pg.Client({ connectionString: world.postgres.url, application_name: 'chaos storm' })
      client.on('error', () => {})
      try {
        await client.connect()
        clients.push(client)
        await client.query(TERMINATE_SERVICE)
      } catch {
        await sleep(20)
      }
    }
  }
  const takers = Array.from({ length: 4 }, takeSlots)
  return {
    end: async () => {
      isOver = true
      await Promise.all(takers)
      await Promise.allSettled(clients.map((client) => client.end()))
    },
  }
}

const TERMINATE_SERVICE = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE application_name LIKE 'wa-ingest%'`

export const terminations: Scenario = {
  name: 'postgres-terminations',
  promise:
    "the service's sessions are ended again and again while they work: nothing is lost or stored twice",
  backends: BACKENDS,
  seconds: 8,
  async run(ctx) {
    const { postgres } = ctx.world
    await ctx.repeat(async () => {
      await ctx.pause(50, 250)
      await postgres.query(`${TERMINATE_SERVICE} AND random() < 0.4`)
    })
    await ctx.recover()
    intakeGoesOn(ctx)
  },
}

export const postgresScenarios = [
  ...[postgresKill, postgresRestart, postgresFrozen, postgresHalfOpen, postgresReadOnly, postgresFull],
  ...[connectionStorm, terminations],
]

/** With the queue on Redis; on PostgreSQL a webhook that comes while it is away is answered 503. */
function intakeGoesOn({ world, ledger, check }: ScenarioContext): void {
  if (world.backend !== 'redis') return
  const refused = ledger.requests().answers['503'] ?? 0
  check(`no webhook is refused while Redis is there (${refused} were)`, refused === 0)
}
