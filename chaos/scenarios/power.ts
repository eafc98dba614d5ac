/**
 * The machine of the stores loses its power.
 *
 * A killed process leaves what it had handed to the system; a power failure does not. So the stores have their files on a
 * disk in a file, and what is in that file at the moment of the failure is all that they are started on again: whatever
 * was not synced is gone. The disk is one without a volatile cache of its own.
 */
import path from 'node:path'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { copyDisk, makeDisk, mountDisk, syncDisk, whyNoMounts } from '../world/mounts.ts'
import { BACKENDS, type WorldOptions } from '../world/world.ts'
import { reports } from './redis-checks.ts'

const SECOND = 1_000
const DISK_MEGABYTES = 768
const DISK = 'disk.img'
/** Redis syncs every second, and a sync may take another one. */
const UNSYNCED_MS = 2 * SECOND

const placeStores: WorldOptions['placeStores'] = async (directory, releases) => {
  const file = path.join(directory, DISK)
  await makeDisk(file, DISK_MEGABYTES)
  const place = await mountDisk(file, directory, 'disk', releases)
  return { postgres: place, redis: path.join(place, 'redis') }
}

export const powerLoss: Scenario = {
  name: 'power-loss',
  promise:
    'the machine of both stores loses its power: with the settings of docker-compose.yml nothing is lost',
  backends: BACKENDS,
  seconds: 8,
  unavailable: whyNoMounts,
  world: { placeStores },
  run: (ctx) => loseWithPower(ctx),
}

export const powerLossEverysec: Scenario = {
  name: 'power-loss-everysec',
  promise:
    'with appendfsync everysec a power failure loses what was acknowledged in the last two seconds at most, as reported',
  backends: ['redis'],
  seconds: 8,
  unavailable: whyNoMounts,
  world: { placeStores, redisArgs: ['--appendfsync', 'everysec'] },
  load: { maxRedeliveries: 0 },
  limits: { losesSome: true },
  async run(ctx) {
    await reports(ctx, /redis appendfsync is everysec/)
    await loseWithPower(ctx, UNSYNCED_MS)
  },
}

export const powerScenarios = [powerLoss, powerLossEverysec]

/** What was acknowledged in the last `unsyncedMs` may be gone. */
async function loseWithPower(ctx: ScenarioContext, unsyncedMs = 0): Promise<void> {
  const { world, releases } = ctx
  const { postgres, redis, directory, workers } = world
  let disk = path.join(directory, DISK)
  let failures = 0
  // The database was copied to it, by a program that does not ask for anything.
  await syncDisk(path.join(directory, 'disk'))
  await ctx.repeat(async () => {
    await ctx.pause(1 * SECOND, 3 * SECOND)
    // So that the queue has something to lose.
    for (const worker of workers) worker.freeze()
    await ctx.pause(200, 1_200)
    const mayBeLost = await ctx.auditor.countMissing()
    const acknowledgedFrom = performance.now() - unsyncedMs
    // Nothing is confirmed from here on; what the disk has by now is what is left.
    redis?.freeze()
    postgres.freeze()
    if (unsyncedMs > 0) ctx.ledger.mayLose({ acknowledgedFrom, askedBefore: performance.now() })
    const copy = path.join(directory, `disk-${++failures}.img`)
    await copyDisk(disk, copy)
    await Promise.all([postgres.crash(), redis?.end()])
    await Promise.all([world.postgresRelay.takeDown(), world.redisRelay?.takeDown()])
    const place = await mountDisk(copy, directory, `disk-${failures}`, releases)
    await Promise.all([postgres.start(place), redis?.start(path.join(place, 'redis'))])
    await Promise.all([world.postgresRelay.bringUp(), world.redisRelay?.bringUp()])
    for (const worker of workers) worker.thaw()
    disk = copy
    ctx.note(`${mayBeLost} acknowledged events were only on the queue at failure ${failures}`)
    await ctx.recover()
  })
}
