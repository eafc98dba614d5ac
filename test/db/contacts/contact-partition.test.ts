/** The same identifiers end in the same contacts, in any order and any batches. */
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import type { ContactRef, IdentityChange } from '../../../src/core/fact.ts'
import { resolveContacts, type SeenContact } from '../../../src/db/contacts/resolve-contacts.ts'
import { at } from '../../support/contact-batches.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const DAY = 24 * 60

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})

test('refs in any order and any batches end in the same contacts: one for each group of user ids that were seen together', async () => {
  const identifier = fc.option(fc.nat({ max: 4 }), { nil: undefined, freq: 2 })
  const numbers = fc.record({ phone: identifier, user: identifier, parent: identifier })
  await fc.assert(
    fc.asyncProperty(
      fc.array(numbers, { minLength: 1, maxLength: 14 }),
      fc.infiniteStream(fc.nat()),
      async (people, chance) => {
        const run = nextRun()
        const sightings = people
          .filter(({ phone, user, parent }) => (phone ?? user ?? parent) !== undefined)
          .map(({ phone, user, parent }, day) => ({
            ref: createRef(run, phone, user, parent),
            seen_at: at(day * DAY),
            account: 'waba-1',
          }))

        for (const batch of split(chance, shuffle(chance, [...sightings, ...sightings])))
          await arrive(batch, [])

        // A number that was seen with the user ids of several people is not theirs at every time: see below.
        const shared = new Set(sharedPhones(sightings.map(({ ref }) => ref)))
        const told = sightings.filter(({ ref }) => isIdentified(ref) || !shared.has(ref.phone))
        expect(await partition(told)).toEqual(expectedPeople(told.map(({ ref }) => ref)))
      },
    ),
    { numRuns: 20 },
  )
})

test('a person who changes numbers and user ids is one contact, whatever the order of arrival', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(createStory(), { minLength: 1, maxLength: 3 }),
      fc.infiniteStream(fc.nat()),
      async (stories, chance) => {
        const run = nextRun()
        const arrivals = stories.flatMap((steps, person) => tell(run, person, steps))
        const told = shuffle(chance, [...arrivals, ...arrivals])

        for (const batch of split(chance, told))
          await arrive(
            batch.flatMap(({ sighting }) => sighting ?? []),
            batch.flatMap(({ change }) => change ?? []),
          )

        const sightings = arrivals.flatMap(({ sighting }) => sighting ?? [])
        const changes = arrivals.flatMap(({ change }) => change ?? [])
        const refs = sightings.map(({ ref }) => ref)
        expect(await partition(sightings)).toEqual(expectedPartition(refs, changes))
      },
    ),
    { numRuns: 20 },
  )
})

test('successive owners of one number stay separate contacts, however late their messages arrive', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 4 }), fc.infiniteStream(fc.nat()), async (owners, chance) => {
      const run = nextRun()
      const shared = `1555${run}99`
      const periods = Array.from({ length: owners }, (_, owner) => createOwner(run, shared, owner))
      const late: SeenContact[] = []
      for (const { sightings, change } of periods) {
        const [early, ...others] = shuffle(chance, sightings)
        for (const batch of split(chance, [...late.splice(0), ...(early ? [early] : [])]))
          await arrive(batch, [])
        await arrive([], [change])
        late.push(...others)
      }
      for (const batch of split(chance, shuffle(chance, late))) await arrive(batch, [])

      const found = await partition(periods.flatMap(({ sightings }) => sightings))
      expect(found).toEqual(periods.flatMap(({ sightings }, owner) => sightings.map(() => owner)))
    }),
    { numRuns: 13 },
  )
})

test('owners of one number with user ids of their own stay separate contacts, in any order and any batches, with or without a change', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 4 }),
      fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      fc.infiniteStream(fc.nat()),
      async (owners, withChange, chance) => {
        const run = nextRun()
        const tenures = Array.from({ length: owners }, (_, owner) =>
          createTenure(run, owner, withChange[owner]),
        )
        const told = shuffle(
          chance,
          tenures.flatMap(({ arrivals }) => [...arrivals, ...arrivals]),
        )

        for (const batch of split(chance, told))
          await arrive(
            batch.flatMap(({ sighting }) => sighting ?? []),
            batch.flatMap(({ change }) => change ?? []),
          )

        const found = await partition(tenures.flatMap(({ probes }) => probes))
        expect(found).toEqual(tenures.flatMap(({ probes }, owner) => probes.map(() => owner)))
      },
    ),
    { numRuns: 26 },
  )
})

test('a person with a user id in each of several portfolios is one contact, in any order and any batches', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 4 }),
      fc.infiniteStream(fc.nat()),
      async (portfolios, chance) => {
        const run = nextRun()
        const sightings = Array.from({ length: portfolios }, (_, index) => index).flatMap((index) => {
          const [phone, user_id] = [`1555${run}1`, `US.${run}${index}`]
          const account = `waba-${run}-${index}`
          return [{ phone, user_id }, { user_id }, { phone }].map((ref, day) => ({
            ref,
            seen_at: at((index + day * 3) * DAY),
            account,
          }))
        })

        for (const batch of split(chance, shuffle(chance, [...sightings, ...sightings])))
          await arrive(batch, [])

        expect(new Set(await partition(sightings)).size).toBe(1)
      },
    ),
    { numRuns: 13 },
  )
})

test('two people stay two when eight writers store what they sent at the same time', async () => {
  for (let round = 0; round < 12; round += 1) {
    const run = nextRun()
    const tenures = [createTenure(run, 0, true), createTenure(run, 1, true)]
    const chance = fc.sample(fc.infiniteStream(fc.nat()), { numRuns: 1, seed: round })[0] as fc.Stream<number>
    const arrivals = tenures.flatMap((tenure) => [...tenure.arrivals, ...tenure.arrivals])

    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (const { sighting, change } of shuffle(chance, arrivals))
          await arrive(sighting ? [sighting] : [], change ? [change] : [])
      }),
    )

    const found = await partition(tenures.flatMap(({ probes }) => probes))
    expect(found).toEqual(tenures.flatMap(({ probes }, owner) => probes.map(() => owner)))
  }
})

/** A step in the life of a person: a message with some identifiers, or a change of some. */
type Step = { changes: boolean; phone: boolean; user: boolean }

function createStory() {
  const step = fc.record({ changes: fc.boolean(), phone: fc.boolean(), user: fc.boolean() })
  return fc.array(step, { minLength: 1, maxLength: 6 })
}

type Arrival = { sighting?: SeenContact; change?: IdentityChange }

/** Each step is a day later; a change replaces the identifiers that it names by their next values. */
function tell(run: string, person: number, steps: readonly Step[]): Arrival[] {
  const now = { phone: person * 10, user: person * 10 }
  return steps.flatMap((step, day): Arrival[] => {
    if (!step.phone && !step.user) return []
    const ref = () =>
      createRef(run, step.phone ? now.phone : undefined, step.user ? now.user : undefined, undefined)
    const from = ref()
    if (!step.changes) return [{ sighting: { ref: from, seen_at: at(day * DAY) } }]
    if (step.phone) now.phone += 1
    if (step.user) now.user += 1
    return [{ change: { from, to: ref(), changed_at: at(day * DAY) } }]
  })
}

/** A person who has the shared number for a while and then changes to one of their own. */
function createOwner(run: string, shared: string, owner: number) {
  const start = owner * 200 * DAY
  const own = `1555${run}${owner}`
  const end = start + 100 * DAY
  const change: IdentityChange = { from: { phone: shared }, to: { phone: own }, changed_at: at(end) }
  const sightings = [
    { ref: { phone: shared }, seen_at: at(start) },
    { ref: { phone: shared }, seen_at: at(start + 50 * DAY) },
    { ref: { phone: shared }, seen_at: at(end) },
    { ref: { phone: own }, seen_at: at(end + 1) },
  ]
  return { change, sightings }
}

/**
 * Somebody with a user id who has the shared number for a while. `arrivals`: what webhooks say; `probes`: what is known of
 * them by then.
 */
function createTenure(run: string, owner: number, withChange = false) {
  const start = owner * 200 * DAY
  const [shared, own, user_id] = [`1555${run}99`, `1555${run}${owner}`, `US.${run}${owner}`]
  const account = 'waba-1'
  const seen = (ref: ContactRef, day: number) => ({ ref, seen_at: at(start + day * DAY), account })
  const change: IdentityChange = {
    from: { phone: own, user_id },
    to: { phone: shared, user_id },
    changed_at: at(start - DAY),
  }
  const sightings = [
    seen({ phone: own, user_id }, -20),
    seen({ phone: shared, user_id }, 0),
    seen({ phone: shared, user_id }, 50),
    seen({ phone: shared }, 60),
    seen({ user_id }, 70),
  ]
  return {
    arrivals: [...sightings.map((sighting): Arrival => ({ sighting })), ...(withChange ? [{ change }] : [])],
    probes: [...sightings, seen({ phone: shared }, 40), seen({ phone: shared }, 100)],
  }
}

let runs = 0
/** Makes the identifiers of each run different. */
function nextRun(): string {
  runs += 1
  return String(runs).padStart(4, '0')
}

function createRef(run: string, phone?: number, user?: number, parent?: number): ContactRef {
  return {
    ...(phone !== undefined && { phone: `1555${run}${phone}` }),
    ...(user !== undefined && { user_id: `US.${run}.${user}` }),
    ...(parent !== undefined && { parent_user_id: `US.ENT.${run}.${parent}` }),
  }
}

function keysOf(ref: ContactRef): string[] {
  return Object.entries(ref).map(([field, value]) => `${field} ${value}`)
}

async function arrive(refs: readonly SeenContact[], changes: readonly IdentityChange[]): Promise<void> {
  await database.db.transaction().execute((trx) => resolveContacts(trx, refs, changes))
}

/** For each sighting the index of the first one with the same contact. */
async function partition(sightings: readonly SeenContact[]): Promise<number[]> {
  const ids = await database.db.transaction().execute((trx) => resolveContacts(trx, sightings))
  return renumber(ids)
}

function isIdentified({ user_id, parent_user_id }: ContactRef): boolean {
  return (user_id ?? parent_user_id) !== undefined
}

/** Phones that were seen with the user ids of more than one person. */
function sharedPhones(refs: readonly ContactRef[]): (string | undefined)[] {
  const people = expectedPartition(refs.map(withoutPhone), [])
  const owners = Map.groupBy(
    refs.map((ref, index) => ({ ref, person: people[index] })),
    ({ ref }) => ref.phone,
  )
  return [...owners].flatMap(([phone, seen]) =>
    new Set(seen.filter(({ ref }) => isIdentified(ref)).map(({ person }) => person)).size > 1 ? phone : [],
  )
}

/** A phone joins nobody who has user ids; it is the contact of those that it was seen with, or one of its own. */
function expectedPeople(refs: readonly ContactRef[]): number[] {
  const byPhone = new Map(refs.filter(isIdentified).map((ref) => [ref.phone, withoutPhone(ref)]))
  return expectedPartition(
    refs.map((ref) => (isIdentified(ref) ? withoutPhone(ref) : (byPhone.get(ref.phone) ?? ref))),
    [],
  )
}

function withoutPhone({ user_id, parent_user_id, phone }: ContactRef): ContactRef {
  if (user_id === undefined && parent_user_id === undefined) return { ...(phone !== undefined && { phone }) }
  return {
    ...(user_id !== undefined && { user_id }),
    ...(parent_user_id !== undefined && { parent_user_id }),
  }
}

/** The expected result in the same form: refs that share an identifier are one contact, and so are both sides of a change. */
function expectedPartition(refs: readonly ContactRef[], changes: readonly IdentityChange[]): number[] {
  const leaders = new Map<string, string>()
  const leaderOf = (key: string): string => {
    const leader = leaders.get(key) ?? key
    return leader === key ? key : leaderOf(leader)
  }
  const ties = [...refs.map(keysOf), ...changes.map(({ from, to }) => [...keysOf(from), ...keysOf(to)])]
  for (const [first = '', ...others] of ties)
    for (const other of others) leaders.set(leaderOf(other), leaderOf(first))
  return renumber(refs.map((ref) => leaderOf(keysOf(ref)[0] ?? '')))
}

function renumber(ids: readonly string[]): number[] {
  const distinct = [...new Set(ids)]
  return ids.map((id) => distinct.indexOf(id))
}

function split<T>(chance: fc.Stream<number>, items: readonly T[]): T[][] {
  const batches: T[][] = []
  for (const item of items) {
    if (batches.length === 0 || take(chance) % 3 === 0) batches.push([])
    batches.at(-1)?.push(item)
  }
  return batches
}

function shuffle<T>(chance: fc.Stream<number>, items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, key: take(chance) }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item)
}

function take(chance: fc.Stream<number>): number {
  return chance.next().value ?? 0
}
