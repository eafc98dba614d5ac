/** What can happen to any store: it hangs, or the network between it and the service fails. */
import type { World } from '../world/world.ts'
import type { Fault } from './outage.ts'

type StoreName = 'redis' | 'postgres'

/** SIGSTOP: connections stay, and nothing is answered. */
export const freeze =
  (...stores: StoreName[]): Fault =>
  ({ world }) =>
  async () => {
    for (const name of stores) world[name]?.freeze()
    return () => {
      for (const name of stores) world[name]?.thaw()
    }
  }

export const refuseConnections =
  (...stores: StoreName[]): Fault =>
  ({ world }) =>
  async () => {
    await Promise.all(relaysOf(world, stores).map((relay) => relay.takeDown()))
    return () => Promise.all(relaysOf(world, stores).map((relay) => relay.bringUp()))
  }

/** Open connections die without a word; new ones work at once. */
export const severConnections =
  (...stores: StoreName[]): Fault =>
  ({ world }) =>
  async () => {
    for (const relay of relaysOf(world, stores)) relay.sever()
    return () => {}
  }

function relaysOf(world: World, stores: readonly StoreName[]) {
  return stores.flatMap((name) => world[`${name}Relay`] ?? [])
}
