/**
 * The machine of the stores loses its power.
 *
 * A killed process leaves what it had handed to the system; a power failure does not. So the stores have their files on a
 * disk in a file, and after the failure they start on what that file held at its moment: whatever was not synced is gone.
 * The disk is one without a volatile cache of its own.
 */
import path from 'node:path'
import { copyDisk, makeDisk, mountDisk, syncDisk } from '../world/mounts.ts'
import type { WorldOptions } from '../world/world.ts'
import type { Fault } from './outage.ts'

const DISK_MEGABYTES = 768
const DISK = 'disk.img'

export const placeStoresOnDisk: NonNullable<WorldOptions['placeStores']> = async (directory, releases) => {
  const file = path.join(directory, DISK)
  await makeDisk(file, DISK_MEGABYTES)
  const place = await mountDisk(file, directory, 'disk', releases)
  return { postgres: place, redis: path.join(place, 'redis') }
}

export const failPower: Fault = async ({ world, auditor, releases, note }) => {
  const { postgres, redis, directory } = world
  let disk = path.join(directory, DISK)
  let failures = 0
  // The database was copied to it by a program that does not sync.
  await syncDisk(path.join(directory, 'disk'))
  return async () => {
    const queued = await auditor.countMissing()
    note(`${queued} acknowledged events were only on the queue at failure ${++failures}`)
    // Frozen stores confirm nothing more: what the disk holds from here on is what is left.
    redis?.freeze()
    postgres.freeze()
    return async () => {
      const copy = path.join(directory, `disk-${failures}.img`)
      await copyDisk(disk, copy)
      await Promise.all([postgres.crash(), redis?.end()])
      await Promise.all([world.postgresRelay.takeDown(), world.redisRelay?.takeDown()])
      const place = await mountDisk(copy, directory, `disk-${failures}`, releases)
      await Promise.all([postgres.start(place), redis?.start(path.join(place, 'redis'))])
      await Promise.all([world.postgresRelay.bringUp(), world.redisRelay?.bringUp()])
      disk = copy
    }
  }
}
