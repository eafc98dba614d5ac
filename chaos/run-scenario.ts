/** Plays one scenario on one backend: world, load, faults, audit, report. Leaves nothing behind. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom, deriveSeed } from '../src/cli/simulate/random.ts'
import { createReleaseStack, type ReleaseStack } from '../src/lifecycle/release-stack.ts'
import { createAuditor } from './audit/auditor.ts'
import { findUnready, judgeAnswers, judgeAudit, judgeGrowth, judgeMemory } from './breaches.ts'
import { createLedger } from './load/ledger.ts'
import { startLoad } from './load/load.ts'
import { createStream } from './load/stream.ts'
import { watchMemory } from './memory.ts'
import { measureRecovery } from './recovery.ts'
import { createReport, type ScenarioReport } from './report/report.ts'
import { DEFAULT_LIMITS, type Limits, type Scenario, type ScenarioContext } from './scenario.ts'
import { type Backend, createWorld, servicesOf, type World } from './world/world.ts'

export type RunOptions = {
  backend: Backend
  seed: number
  /** See postgres-template.ts. */
  postgresTemplate: string
  /** Of load; absent: the scenario's own. */
  seconds?: number | undefined
  /** Of the limits in time, where other work runs beside it. */
  patience?: number
  /** Of the scenario's webhooks a second. */
  rateShare?: number
  /** Where the logs of a scenario that broke its promise go. */
  logDirectory?: string | undefined
  signal: AbortSignal
  onProgress?: (phase: string) => void
}

const DEFAULT_RATE = 12
const RELEASE_DEADLINE_MS = 20_000
const LAST_RETRIES_TIMEOUT_MS = 30_000
const REST_PATIENCE_MS = 30_000
const LONGEST_RECOVERY_MS = 60_000
const POLL_MS = 50
/** The load goes on for a moment after the last fault. */
const CALM_MS = 1_000

/** @throws only when the world cannot be made, or the signal aborts. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioReport> {
  const directory = mkdtempSync(path.join(tmpdir(), `wa-ingest-chaos-${process.pid}-`))
  // The user that PostgreSQL runs as where we are root has to get in.
  chmodSync(directory, 0o755)
  const releases = createReleaseStack({ deadlineMs: RELEASE_DEADLINE_MS })
  releases.add('files', () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  try {
    return await play(scenario, options, directory, releases)
  } finally {
    await releases.releaseAll().catch(() => {})
  }
}

async function play(
  scenario: Scenario,
  options: RunOptions,
  directory: string,
  releases: ReleaseStack,
): Promise<ScenarioReport> {
  const { backend, postgresTemplate } = options
  const limits: Limits = { ...DEFAULT_LIMITS, ...scenario.limits }
  const patience = options.patience ?? 1
  const startedAt = performance.now()
  options.onProgress?.('starts')
  const world = await createWorld({ backend, directory, postgresTemplate, releases }, scenario.world)
  const session = openSession(scenario, options, world, limits, releases)
  const { ctx, breaches } = session
  const memory = watchMemory(world)
  releases.add('memory watch', () => memory.stop())

  options.onProgress?.('is under load')
  await scenario.run(ctx)
  ctx.load.resume()
  await ctx.pause(CALM_MS)
  options.onProgress?.('ends its load')
  const unacknowledged = await ctx.load.finish(LAST_RETRIES_TIMEOUT_MS * patience)
  if (unacknowledged > 0) breaches.push(`${unacknowledged} webhooks were never acknowledged`)
  options.onProgress?.('is audited')
  breaches.push(...(await findUnready(world, limits.recoveryMs * patience)))
  const audit = await ctx.auditor.audit()
  for (const service of servicesOf(world)) breaches.push(...service.crashes())
  if (audit.evicted > 0)
    ctx.note(`${audit.evicted} jobs were parked by their id: Redis had deleted their data`)
  const usage = memory.stop()
  breaches.push(
    ...judgeAudit(audit, limits),
    ...judgeMemory(usage, limits),
    ...judgeGrowth(world, usage, limits),
  )
  breaches.push(...judgeAnswers(world, ctx.ledger.requests.totals(), limits.answerMs * patience))
  if (breaches.length > 0 && options.logDirectory !== undefined) {
    keepLogs(world, path.join(options.logDirectory, `${scenario.name}-${backend}-${options.seed}`), breaches)
  }
  return createReport({
    ...{ scenario, backend, seed: options.seed, audit, breaches, usage },
    ...{ requests: ctx.ledger.requests.totals(), notes: session.notes, recoveries: session.recoveries },
    restarts: servicesOf(world).reduce((total, service) => total + service.starts() - 1, 0),
    durationMs: performance.now() - startedAt,
  })
}

type Session = {
  ctx: ScenarioContext
  breaches: string[]
  notes: string[]
  /** In milliseconds. */
  recoveries: number[]
}

function openSession(
  scenario: Scenario,
  options: RunOptions,
  world: World,
  limits: Limits,
  releases: ReleaseStack,
): Session {
  const { seed, signal, backend, patience = 1 } = options
  const { rate: fullRate = DEFAULT_RATE, ...shape } = scenario.load ?? {}
  const rate = fullRate * (options.rateShare ?? 1)
  const number = [...scenario.name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 0)
  const own = deriveSeed(seed, backend === 'redis' ? 1 : 2, number)
  const ledger = createLedger()
  const stream = createStream({ ...shape, seed: own, run: own.toString(16).padStart(8, '0') })
  const ofLoad = createRandom(deriveSeed(own, 4, 0))
  const load = startLoad({ stream, ledger, urls: world.urls, rate, random: ofLoad, signal })
  releases.add('load', () => load.finish(0))
  const auditor = createAuditor({
    ...{ world, ledger, signal, patienceMs: REST_PATIENCE_MS * patience },
  })
  releases.add('auditor', () => auditor.close())
  const random = createRandom(deriveSeed(own, 3, 0))
  const endsAt = performance.now() + (options.seconds ?? scenario.seconds) * 1_000
  const pause = async (fromMs: number, toMs = fromMs) => {
    await sleep(fromMs + random.integer(Math.max(1, toMs - fromMs)), undefined, { signal })
  }

  const session: Session = {
    breaches: [],
    notes: [],
    recoveries: [],
    ctx: {
      ...{ world, load, rate, stream, ledger, auditor, patience, random, signal, releases, pause },
      repeat: async (cycle) => {
        do {
          signal.throwIfAborted()
          await cycle()
        } while (performance.now() < endsAt)
      },
      until: async (claim, timeoutMs, condition) => {
        const deadline = performance.now() + timeoutMs * patience
        while (!(await holds(condition))) {
          if (performance.now() > deadline) {
            session.breaches.push(`not within ${timeoutMs} ms: ${claim}`)
            return
          }
          // Not `pause`: how often it looks is no matter of the seed.
          await sleep(POLL_MS, undefined, { signal })
        }
      },
      recover: async () => {
        const recovery = await measureRecovery(world, auditor, { timeoutMs: LONGEST_RECOVERY_MS, signal })
        const tookMs = recovery && Math.max(recovery.queuedMs, recovery.backlogMs)
        session.recoveries.push(tookMs ?? LONGEST_RECOVERY_MS)
        if (tookMs === undefined || tookMs > limits.recoveryMs * patience) {
          const what =
            tookMs === undefined ? `took longer than ${LONGEST_RECOVERY_MS} ms` : `took ${tookMs} ms`
          session.breaches.push(`recovery ${what}, at most ${limits.recoveryMs} ms are promised`)
        }
      },
      check: (claim, holds) => {
        if (!holds) session.breaches.push(`does not hold: ${claim}`)
      },
      note: (text) => {
        if (!session.notes.includes(text)) session.notes.push(text)
      },
    },
  }
  return session
}

/** What cannot be found out at the moment does not hold. */
async function holds(condition: () => Promise<boolean> | boolean): Promise<boolean> {
  try {
    return await condition()
  } catch {
    return false
  }
}

function keepLogs(world: World, directory: string, breaches: readonly string[]): void {
  mkdirSync(directory, { recursive: true })
  writeFileSync(path.join(directory, 'breaches.txt'), `${breaches.join('\n')}\n`)
  for (const service of servicesOf(world)) {
    writeFileSync(path.join(directory, `${service.name}.log`), service.output())
  }
}
