/**
 * Bulkheads: how many tasks are under way at the same time for each sender (one of our numbers) and each provider, so that one
 * that hangs takes no slot of another. A sender without a task under way always gets a slot.
 *
 * The limits begin small and grow with every answer (slow start, as in TCP): few calls are under way when a provider hangs, and
 * many while it answers. Tasks that find no slot wait in a list of their sender; of each conversation one task runs at a time.
 */
import { RATE_LIMIT } from '../core/send-policy.ts'

export type BulkheadTask = { conversation_id: string; provider: string; business_number: string }

/** A limit begins at `first`, grows by one with every answer up to `most`, and begins again when nothing is under way. */
export type SlotLimit = { first: number; most: number }

export type BulkheadOptions<Task> = {
  perSender: SlotLimit
  perProvider: SlotLimit
  /** Longest list of a sender. */
  maxWaiting: number
  /** Must not reject. */
  run: (task: Task, slot: Slot) => Promise<void>
}

/** What a running task tells about its sender. */
export type Slot = {
  /** The provider has answered a call: one more may be under way. */
  reportAnswer(): void
  /**
   * The provider has not answered a call: the sender has one task under way until it answers again. This task is back in the
   * list and has to end, so that no call begins before the circuit breaker has counted the others that end now.
   */
  reportDoubt(): void
  /**
   * Whether the task may wait for the rate limiter; then its sender starts few other tasks. False: enough others wait
   * already, so the task is back in the list and has to end.
   */
  mayWaitForToken(): boolean
  /** Ends that wait. */
  endWaitForToken(): void
  /** Empties the list of the sender: its tasks would achieve nothing. */
  dropWaiting(): void
}

export type Bulkheads<Task> = {
  /** Starts the task, or lets it wait. False: the list of its sender is full, and the task is dropped. */
  offer(task: Task): boolean
  /** Whether a task of this conversation waits or is under way. */
  has(task: BulkheadTask): boolean
  /** Drops every task that waits. */
  clear(): void
  /** Resolves when no task is under way. */
  whenIdle(): Promise<void>
}

type Lane<Task> = {
  limit: number
  /** By conversation. */
  running: Set<string>
  waiting: Map<string, Task>
  /** How many tasks wait for the rate limiter. */
  limited: number
}

type Provider<Task> = { limit: number; running: number; lanes: Map<string, Lane<Task>> }

export function createBulkheads<Task extends BulkheadTask>(options: BulkheadOptions<Task>): Bulkheads<Task> {
  const { perSender, perProvider, maxWaiting, run } = options
  const providers = new Map<string, Provider<Task>>()
  const underWay = new Set<Promise<void>>()

  function findLane({ provider: name, business_number }: Task) {
    const provider = providers.get(name) ?? { limit: perProvider.first, running: 0, lanes: new Map() }
    const lane: Lane<Task> = provider.lanes.get(business_number) ?? {
      limit: perSender.first,
      running: new Set(),
      waiting: new Map(),
      limited: 0,
    }
    providers.set(name, provider)
    provider.lanes.set(business_number, lane)
    return { provider, lane }
  }

  /** One task of each sender in turn, as long as there are slots: a sender that gets one becomes the last of the map. */
  function startWaiting(provider: Provider<Task>): void {
    const { lanes } = provider
    for (const [number, lane] of lanes) {
      if (!startOne(provider, lane)) continue
      lanes.delete(number)
      lanes.set(number, lane)
    }
  }

  function startOne(provider: Provider<Task>, lane: Lane<Task>): boolean {
    if (lane.running.size >= lane.limit || lane.limited >= RATE_LIMIT.maxWaiting) return false
    if (lane.running.size > 0 && provider.running >= provider.limit) return false
    const task = nextTask(lane)
    if (task === undefined) return false
    lane.waiting.delete(task.conversation_id)
    lane.running.add(task.conversation_id)
    provider.running++
    const ended = runTask(provider, lane, task).finally(() => underWay.delete(ended))
    underWay.add(ended)
    return true
  }

  async function runTask(provider: Provider<Task>, lane: Lane<Task>, task: Task): Promise<void> {
    const slot = createSlot(provider, lane, task)
    await run(task, slot)
    slot.endWaitForToken()
    lane.running.delete(task.conversation_id)
    provider.running--
    startWaiting(provider)
    if (lane.running.size === 0 && lane.waiting.size === 0) provider.lanes.delete(task.business_number)
    if (provider.lanes.size === 0) providers.delete(task.provider)
  }

  function createSlot(provider: Provider<Task>, lane: Lane<Task>, task: Task): Slot {
    let isLimited = false
    return {
      reportAnswer: () => {
        lane.limit = Math.min(lane.limit + 1, perSender.most)
        provider.limit = Math.min(provider.limit + 1, perProvider.most)
        startWaiting(provider)
      },
      reportDoubt: () => {
        lane.limit = 1
        lane.waiting.set(task.conversation_id, task)
      },
      mayWaitForToken: () => {
        if (!isLimited && lane.limited >= RATE_LIMIT.maxWaiting) {
          lane.waiting = new Map([[task.conversation_id, task], ...lane.waiting])
          return false
        }
        if (!isLimited) lane.limited++
        isLimited = true
        return true
      },
      endWaitForToken: () => {
        if (!isLimited) return
        isLimited = false
        lane.limited--
        startWaiting(provider)
      },
      dropWaiting: () => lane.waiting.clear(),
    }
  }

  return {
    offer: (task) => {
      const { provider, lane } = findLane(task)
      if (lane.waiting.size >= maxWaiting && !lane.waiting.has(task.conversation_id)) return false
      lane.waiting.set(task.conversation_id, task)
      startWaiting(provider)
      return true
    },
    has: ({ provider, business_number, conversation_id }) => {
      const lane = providers.get(provider)?.lanes.get(business_number)
      return lane !== undefined && (lane.waiting.has(conversation_id) || lane.running.has(conversation_id))
    },
    clear: () => {
      for (const { lanes } of providers.values()) for (const lane of lanes.values()) lane.waiting.clear()
    },
    whenIdle: async () => {
      while (underWay.size > 0) await Promise.all(underWay)
    },
  }
}

/** The task that has waited longest, of a conversation that has none under way. */
function nextTask<Task extends BulkheadTask>({ waiting, running }: Lane<Task>): Task | undefined {
  for (const [conversationId, task] of waiting) if (!running.has(conversationId)) return task
  return undefined
}
