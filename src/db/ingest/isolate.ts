/**
 * Writes items in batches, and isolates those that cannot be written. When a batch is refused, a probe finds most bad items in
 * one round trip. Where it finds none, the batch is halved until the bad item is alone, and the good ones are stored
 * meanwhile. A batch that takes too long is halved in the same way.
 */
import type { FinalOutcome } from '../../core/event.ts'
import { classifyWriteFailure, type WriteFailure } from '../errors.ts'
import type { BatchSize } from './batch-size.ts'
import type { StoreItem } from './store-item.ts'

/**
 * - `refused`: the item failed by itself
 * - `put back`: it was not tried alone, because the database is away or refuses everything
 */
export type WriteResult =
  | { outcome: FinalOutcome }
  | { outcome: 'refused' | 'put back'; cause: unknown; failure: WriteFailure }

type Run = {
  /** Stores all of the items or none. */
  write: (items: readonly StoreItem[]) => Promise<FinalOutcome[]>
  /** Finds items that are refused by themselves, with their errors. It may find none, or not all, and never rejects. */
  probe: (items: readonly StoreItem[]) => Promise<Map<StoreItem, unknown>>
  size: BatchSize
  results: Map<StoreItem, WriteResult>
  canProbe: boolean
}

export type WriteIsolatedOptions = Pick<Run, 'write' | 'probe' | 'size'> & {
  /** The items were refused before, so they are probed before the first write. */
  areSuspects?: boolean
}

/**
 * How many writes in a row may fail before one succeeds. After that it is the fault of the database, and more tries would
 * only be a burden to it. 20 isolate several items of a full batch.
 */
const MAX_FAILURES_IN_VAIN = 20

/** The results in the order of the items. Never rejects. */
export async function writeIsolated(
  items: readonly StoreItem[],
  { areSuspects = false, ...options }: WriteIsolatedOptions,
): Promise<WriteResult[]> {
  const run: Run = { ...options, results: new Map(), canProbe: true }
  const rest = areSuspects && items.length > 1 ? await setRefused(items, run) : items
  if (rest.length > 0) await writeGroups([rest], run)
  return items.map((item) => run.results.get(item) as WriteResult)
}

async function writeGroups(groups: (readonly StoreItem[])[], run: Run): Promise<void> {
  let failuresInVain = 0
  for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
    const items = group.slice(0, run.size.current())
    if (items.length < group.length) groups.unshift(group.slice(items.length))
    const failed = await tryWrite(items, run)
    if (failed === undefined) {
      failuresInVain = Number.NEGATIVE_INFINITY
      continue
    }
    groups.unshift(...(await groupsAfter(failed, items, run)))
    if (failed.failure !== 'data') failuresInVain++
    if (isHopeless(failed, items, failuresInVain)) {
      setAll(run, groups.splice(0).flat(), { outcome: 'put back', ...failed })
    }
  }
}

/** What is to be written next in place of items that failed. */
async function groupsAfter(
  failed: Failed,
  items: readonly StoreItem[],
  run: Run,
): Promise<(readonly StoreItem[])[]> {
  if (failed.failure === 'wait') return [items]
  if (items.length === 1) {
    setAll(run, items, { outcome: 'refused', ...failed })
    return []
  }
  const rest = isOfItems(failed) ? await setRefused(items, run) : items
  if (rest.length < items.length) return rest.length === 0 ? [] : [rest]
  if (failed.failure !== 'refused' || !isMixed(items)) return partsOf(items, failed)
  await writeKinds(items, run)
  return []
}

/** Probes the items, sets the result of those that are refused, and returns the others. */
async function setRefused(items: readonly StoreItem[], run: Run): Promise<readonly StoreItem[]> {
  if (!run.canProbe) return items
  const refused = await run.probe(items)
  // What the probe does not see, it does not see in the parts of the batch either.
  run.canProbe = refused.size > 0
  for (const [item, cause] of refused) {
    run.results.set(item, { outcome: 'refused', cause, failure: classifyWriteFailure(cause) })
  }
  return items.filter((item) => !refused.has(item))
}

/** Each kind has tables of its own, so one can be refused while the others are stored. */
async function writeKinds(items: readonly StoreItem[], run: Run): Promise<void> {
  for (const ofOneKind of Map.groupBy(items, kindOf).values()) await writeGroups([ofOneKind], run)
}

/** Whether what is left should wait, because the database is away, takes nothing, or is too slow for a single item. */
function isHopeless({ failure }: Failed, items: readonly StoreItem[], failuresInVain: number): boolean {
  if (failure === 'wait') return true
  return failuresInVain > (failure === 'timeout' && items.length === 1 ? 0 : MAX_FAILURES_IN_VAIN)
}

/** Whether the failure can be the fault of single items. */
function isOfItems({ failure }: Failed): boolean {
  return failure === 'data' || failure === 'refused'
}

type Failed = { cause: unknown; failure: WriteFailure }

async function tryWrite(
  items: readonly StoreItem[],
  { write, size, results }: Run,
): Promise<Failed | undefined> {
  const startedAt = performance.now()
  try {
    const outcomes = await write(items)
    size.succeeded(items.length, performance.now() - startedAt)
    items.forEach((item, index) => {
      results.set(item, { outcome: outcomes[index] ?? 'duplicate' })
    })
    return undefined
  } catch (cause) {
    const failure = classifyWriteFailure(cause)
    if (failure === 'timeout') size.timedOut(items.length, performance.now() - startedAt)
    return { cause, failure }
  }
}

function setAll({ results }: Run, items: readonly StoreItem[], result: WriteResult): void {
  for (const item of items) results.set(item, result)
}

function kindOf({ fact }: StoreItem): string {
  return fact.kind
}

function isMixed(items: readonly StoreItem[]): boolean {
  return items.some((item) => kindOf(item) !== kindOf(items[0] as StoreItem))
}

function partsOf(items: readonly StoreItem[], { failure }: Failed): (readonly StoreItem[])[] {
  const ordered = failure === 'refused' ? shuffled(items) : items
  const half = Math.ceil(items.length / 2)
  return [ordered.slice(0, half), ordered.slice(half)]
}

/** In another order each time, so that bad items that stand first cannot keep the rest from being tried for ever. */
function shuffled(items: readonly StoreItem[]): readonly StoreItem[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
