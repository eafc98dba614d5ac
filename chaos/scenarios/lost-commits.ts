/** PostgreSQL loses what it had confirmed, as after a restore to an earlier moment or a failover to a replica that lagged. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { launchProcess } from '../../test/support/child-process.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { copyFiles } from '../world/postgres-template.ts'

const SECOND = 1_000
const PROJECT = path.resolve(import.meta.dirname, '../..')
const MAIN = path.join(PROJECT, 'src/cli/main.ts')

export const postgresLosesCommits: Scenario = {
  name: 'postgres-loses-commits',
  promise:
    'PostgreSQL loses the commits of some seconds: replay-completed stores them again from the queue, beside running workers',
  backends: ['redis'],
  seconds: 6,
  world: { workers: 2 },
  // A redelivery would be stored by itself when the queue no longer has its job.
  load: { maxRedeliveries: 0 },
  async run(ctx) {
    let copies = 0
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      const earlier = await copyDatabase(ctx, `earlier-${++copies}`)
      await ctx.recover()
      await ctx.pause(2 * SECOND, 4 * SECOND)
      const before = await countMessages(ctx)
      await ctx.world.postgres.stop()
      await ctx.world.postgres.start(earlier)
      const lost = before - (await countMessages(ctx))
      ctx.check(`messages were lost (${lost})`, lost > 0)
      await replay(ctx, lost)
      await ctx.recover()
    })
  },
}

export const lostCommitsScenarios = [postgresLosesCommits]

/** Stops the server for the copy, as for a backup of its files. Returns the directory of the copy. */
async function copyDatabase({ world }: ScenarioContext, name: string): Promise<string> {
  const directory = path.join(world.directory, name)
  mkdirSync(directory, { mode: 0o755 })
  await world.postgres.stop()
  await copyFiles(world.postgres.directory(), path.join(directory, 'postgres'))
  await world.postgres.start()
  return directory
}

async function countMessages({ world }: ScenarioContext): Promise<number> {
  const [row] = await world.postgres.query<{ count: number }>('SELECT count(*)::int FROM chat_messages')
  return row?.count ?? 0
}

async function replay({ world, check, note }: ScenarioContext, lost: number): Promise<void> {
  const env = world.env
  const command = launchProcess(process.execPath, [MAIN, 'replay-completed', '--json'], { cwd: PROJECT, env })
  const { code } = await command.ended
  const stored = Number(/"stored": (\d+)/.exec(command.output)?.[1] ?? 0)
  check(`wa-ingest replay-completed ends with 0 (${code}: ${command.output.slice(-300)})`, code === 0)
  check(`it stores what was lost (${stored} events for ${lost} messages)`, stored >= lost)
  note(`${lost} messages were lost, ${stored} events were stored again`)
}
