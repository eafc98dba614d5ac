/**
 * An outage: something is taken away from the service under load, and comes back. table.ts says what and how for each;
 * here is the course that all of them take.
 */
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { checkReported } from './findings.ts'
import { checkRefusals, postWhileAway } from './refusals.ts'

const SECOND = 1_000
const DEFAULT_SPAN = [1 * SECOND, 2 * SECOND] as const

/** Awaited. */
export type GiveBack = () => unknown

/**
 * Makes ready what the fault needs, once in a play. The function that it returns takes something away whenever it is
 * called, and returns what gives it back.
 */
export type Fault = (ctx: ScenarioContext) => Promise<Take> | Take
export type Take = () => Promise<GiveBack>

/** Two bounds in milliseconds; the seed decides the moment between them. */
export type Span = readonly [fromMs: number, toMs: number]

export type Outage = Omit<Scenario, 'name' | 'run' | 'seconds'> & {
  /** Of load (10). */
  seconds?: number
  fault: Fault
  /** From one recovery to the next fault (1 to 2 s). */
  everyMs?: Span
  /** From the fault until what was taken comes back (0). */
  awayMs?: Span
  /** The fault happens once, however long the load lasts. */
  isOnce?: boolean
  /** Faults follow each other without a recovery between them. */
  isContinuous?: boolean
  /** Workers do nothing for this long before the fault and until its end, so that the queue holds acknowledged events. */
  idleWorkers?: { how: 'frozen' | 'stopped'; forMs: Span }
  /** Webhooks a second during the outage, where not as before it. */
  rateMeanwhile?: number
  /** Runs before `awayMs` begins: further faults, or checks. */
  meanwhile?: (ctx: ScenarioContext) => Promise<void>
  /**
   * What happens to webhooks that come during the outage.
   * - `stored while NAME is there`: the other store takes them, where the queue has one. None is refused
   * - `refused`: each is answered 503, half of them at once
   * - `either`
   */
  webhooks: 'stored while PostgreSQL is there' | 'stored while Redis is there' | 'refused' | 'either'
  /**
   * What may be lost: events that were acknowledged from so many milliseconds before a moment on, and sent before the end
   * of the fault. The moment is the one at which the workers became idle, or the fault began.
   */
  mayLose?: { sinceMs: number; before: 'idle workers' | 'fault' }
  /** Texts that the log of the start and /health/ready must have about the settings of the stores. */
  findings?: readonly RegExp[]
}

export function scenarioOf(name: string, outage: Outage): Scenario {
  return { name, seconds: 10, ...outage, run: (ctx) => play(ctx, outage) }
}

async function play(ctx: ScenarioContext, settings: Outage): Promise<void> {
  const { fault, findings = [], isOnce, isContinuous, webhooks } = settings
  if (findings.length > 0) await checkReported(ctx, findings)
  const take = await fault(ctx)
  const cycle = () => playOnce(ctx, settings, take)
  await (isOnce ? cycle() : ctx.repeat(cycle))
  if (isContinuous) await ctx.recover()
  if (webhooks.startsWith('stored')) checkNoneRefused(ctx, webhooks)
}

async function playOnce(ctx: ScenarioContext, settings: Outage, take: Take): Promise<void> {
  const { everyMs = DEFAULT_SPAN, awayMs = [0, 0], idleWorkers, mayLose, webhooks, rateMeanwhile } = settings
  const acknowledgedBefore = ctx.ledger.acknowledged()
  await ctx.pause(...everyMs)
  const idleFrom = performance.now()
  const startWorkers = await stopWorkers(ctx, idleWorkers)
  const takenFrom = performance.now()
  const giveBack = await take()
  if (mayLose !== undefined) {
    const moment = mayLose.before === 'fault' ? takenFrom : idleFrom
    ctx.ledger.mayLose({
      acknowledgedFrom: moment - mayLose.sinceMs,
      askedBefore: performance.now(),
    })
  }
  if (rateMeanwhile !== undefined) ctx.load.setRate(rateMeanwhile)
  await settings.meanwhile?.(ctx)
  const refusals = webhooks === 'refused' ? await postWhileAway(ctx, awayMs[0]) : undefined
  if (refusals === undefined) await ctx.pause(...awayMs)
  if (rateMeanwhile !== undefined) ctx.load.setRate(ctx.rate)
  await giveBack()
  await startWorkers()
  if (settings.isContinuous) return
  await ctx.recover()
  if (refusals === undefined) return
  checkRefusals(ctx, refusals)
  await ctx.until('webhooks are acknowledged afterwards', 10 * SECOND, () => {
    return ctx.ledger.acknowledged() > acknowledgedBefore
  })
}

/** Returns what sets the workers going again. */
async function stopWorkers(
  { world: { workers }, pause }: ScenarioContext,
  idleWorkers: Outage['idleWorkers'],
): Promise<GiveBack> {
  if (idleWorkers === undefined) return () => {}
  const isFrozen = idleWorkers.how === 'frozen'
  for (const worker of workers) await (isFrozen ? worker.freeze() : worker.stop())
  await pause(...idleWorkers.forMs)
  return async () => {
    for (const worker of workers) await (isFrozen ? worker.thaw() : worker.start())
  }
}

/** With the queue on PostgreSQL no other store takes webhooks while it is away. */
function checkNoneRefused({ world, ledger, patience, check, note }: ScenarioContext, webhooks: string): void {
  const refused = ledger.requests.totals().answers['503'] ?? 0
  const isPostgresTaken = webhooks === 'stored while Redis is there'
  if (isPostgresTaken && world.backend === 'postgres') return
  // On a busy machine PostgreSQL may miss its deadline of 2 s.
  if (!isPostgresTaken && patience > 1) note(`${refused} webhooks were refused`)
  else check(`no webhook is refused, each is ${webhooks} (${refused} were)`, refused === 0)
}
