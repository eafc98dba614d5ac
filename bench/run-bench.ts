/**
 * A whole run: every workload with every contender, several times over. Contenders take turns, so that what the machine
 * does besides meets all of them, and in every round another one is first.
 */
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import path from 'node:path'
import { createReleaseStack, type ReleaseStack } from '../src/lifecycle/release-stack.ts'
import { isAlive } from '../src/local/postmaster.ts'
import { type Contender, canTake, contenderNamed, isInQuickRun } from './contenders.ts'
import { installPeers } from './install-peers.ts'
import { type Loader, startLoader } from './load/loader.ts'
import { prepareLoad, type Stretch } from './load/prepared-load.ts'
import { measureContender, PACED_SHARE } from './measure-contender.ts'
import type { Measurement } from './measurement.ts'
import { type BenchPostgres, openPostgres } from './servers/postgres.ts'
import { createTemplates, type Templates } from './servers/templates.ts'
import type { Settings } from './settings.ts'
import type { Order } from './stage.ts'
import { type Workload, type WorkloadName, workloadNamed } from './workloads.ts'

export type BenchRun = {
  measurements: Measurement[]
  /** What did not work, one text for each. */
  failures: string[]
  postgres: Pick<BenchPostgres, 'version' | 'settings'>
}

export type BenchObserver = {
  onLog(line: string): void
  onPhase(step: Step, phase: string): void
  onMeasured(step: Step, measurement: Measurement): void
  onFailure(step: Step, problem: string): void
}

/** One measurement that is to be made. */
export type Step = {
  number: number
  count: number
  round: number
  contender: Contender
  workload: Workload
}

const APP_SECRET = 'bench-app-secret'
const RELEASE_DEADLINE_MS = 60_000
/** A stall without direct to go by. */
const DEFAULT_RATE = 500
const MAX_PACED_PER_SECOND = 2_500
const POSTGRES_NAME_LENGTH = 63

export async function runBench(
  settings: Settings,
  observer: BenchObserver,
  signal: AbortSignal,
): Promise<BenchRun> {
  const steps = stepsOf(settings)
  if (steps.some(({ contender }) => contender.usesPeers)) installPeers(observer.onLog)
  const releases = createReleaseStack({ deadlineMs: RELEASE_DEADLINE_MS })
  try {
    const bench = await openBench(settings, observer, signal, releases)
    signal.addEventListener('abort', () => bench.loader.stop(), { once: true })
    const { version, settings: postgresSettings } = bench.postgres
    const run: BenchRun = {
      measurements: [],
      failures: [],
      postgres: { version, settings: postgresSettings },
    }
    for (const step of steps) {
      if (signal.aborted) break
      await takeStep(bench, step, run)
    }
    return run
  } finally {
    await releases.releaseAll()
  }
}

/** In the order in which they are made. */
export function stepsOf({ contenders, workloads, rounds, isQuick }: Settings): Step[] {
  const steps: Omit<Step, 'count'>[] = []
  for (let round = 1; round <= rounds; round++) {
    const first = (round - 1) % contenders.length
    const turn = [...contenders.slice(first), ...contenders.slice(0, first)].map(contenderNamed)
    for (const name of workloads)
      for (const contender of turn)
        if (canTake(contender, name) && (!isQuick || isInQuickRun(contender, name)))
          steps.push({ number: steps.length + 1, round, contender, workload: workloadNamed(name) })
  }
  return steps.map((step) => ({ ...step, count: steps.length }))
}

type Bench = {
  settings: Settings
  observer: BenchObserver
  signal: AbortSignal
  postgres: BenchPostgres
  templates: Templates
  loader: Loader
  directory: string
  /** Of the names of databases. */
  prefix: string
  loads: Map<WorkloadName, Order['load']>
}

async function openBench(
  settings: Settings,
  observer: BenchObserver,
  signal: AbortSignal,
  releases: ReleaseStack,
): Promise<Bench> {
  const { dataDir: directory, databaseUrl, largeRows } = settings
  removeLeftBehind(path.dirname(directory))
  mkdirSync(directory, { recursive: true })
  releases.add('files', () => removeDirectory(directory))
  const isProfiled = settings.profileDir !== undefined
  const postgres = await openPostgres({ url: databaseUrl, dataDir: directory, isProfiled })
  releases.add('postgresql', () => postgres.stop())
  const prefix = `wa_ingest_bench_${process.pid}`
  const templates = createTemplates({ postgres, prefix, largeRows, onLog: observer.onLog })
  releases.add('databases', () => templates.dropAll())
  const loader = startLoader()
  releases.add('load generator', () => loader.stop())
  return { settings, observer, signal, postgres, templates, loader, directory, prefix, loads: new Map() }
}

async function takeStep(bench: Bench, step: Step, run: BenchRun): Promise<void> {
  const { settings, observer, directory, prefix } = bench
  const { contender, workload, number } = step
  const fallback = workload.load === 'stall' ? DEFAULT_RATE : undefined
  const rate = settings.rate ?? rateOfDirect(run.measurements) ?? fallback
  const stepDirectory = path.join(directory, `step-${number}`)
  mkdirSync(stepDirectory)
  try {
    const onPhase = (phase: string) => observer.onPhase(step, phase)
    onPhase('writing requests')
    const load = await loadOf(bench, step, rate)
    const deps = {
      ...bench,
      directory: stepDirectory,
      databaseName: `${prefix}_${number}`.slice(0, POSTGRES_NAME_LENGTH),
      appSecret: APP_SECRET,
      onPhase,
    }
    const measurement = await measureContender(deps, { contender, workload, load, rate })
    run.measurements.push(measurement)
    observer.onMeasured(step, measurement)
  } catch (err) {
    if (bench.signal.aborted) return
    const problem = err instanceof Error ? err.message : String(err)
    run.failures.push(`${workload.name} with ${contender.name}: ${problem}`)
    observer.onFailure(step, problem)
  } finally {
    rmSync(stepDirectory, { recursive: true, force: true })
  }
}

/** Half of what direct can do, from the first round on the same for everybody. */
function rateOfDirect(measurements: readonly Measurement[]): number | undefined {
  const single = measurements.find(
    ({ contender, workload }) => contender === 'direct' && workload === 'single',
  )
  return single && (single.webhooks / single.acknowledgedMs) * 1_000 * PACED_SHARE
}

/** Tells the loader the requests, and makes them before where that was not done yet. */
async function loadOf(
  bench: Bench,
  { workload, number }: Step,
  rate: number | undefined,
): Promise<Order['load']> {
  const path = pathOf(bench, workload)
  const known = bench.loads.get(workload.name)
  // Tables that stay must not meet an id again.
  const isReusable = known !== undefined && !workload.isLargeTable
  const load = isReusable ? known : makeLoad(bench, workload, path, { edition: number, rate })
  bench.loads.set(workload.name, load)
  await bench.loader.read(path)
  return load
}

function pathOf({ directory }: Bench, { name }: Workload): string {
  return path.join(directory, `requests-${name}`)
}

function makeLoad(
  { settings }: Bench,
  workload: Workload,
  path: string,
  { edition, rate = DEFAULT_RATE }: { edition: number; rate: number | undefined },
): Order['load'] {
  const pacedEvents = Math.ceil(settings.seconds * MAX_PACED_PER_SECOND)
  const events = [settings.warmUpMessages, mainEvents(settings, workload, rate)]
  if (workload.name === 'single') events.push(pacedEvents)
  const [warmUp, main, paced] = prepareLoad({ workload, path, appSecret: APP_SECRET, events, edition })
  return { warmUp: warmUp as Stretch, main: main as Stretch, paced }
}

function mainEvents(settings: Settings, workload: Workload, rate: number): number {
  if (workload.load === 'burst') return settings.burstMessages
  if (workload.load === 'stall')
    return Math.ceil(rate * settings.stallSeconds.reduce((sum, seconds) => sum + seconds, 0))
  return settings.messages ?? Math.ceil(settings.seconds * workload.maxEventsPerSecond)
}

/** Of runs that were killed. */
function removeLeftBehind(parent: string): void {
  if (!existsSync(parent)) return
  for (const name of readdirSync(parent)) {
    const pid = Number(/^bench-(\d+)$/.exec(name)?.[1] ?? 0)
    if (pid !== 0 && !isAlive(pid)) removeDirectory(path.join(parent, name))
  }
}

function removeDirectory(directory: string): void {
  try {
    // A link to another place where the user of PostgreSQL cannot enter this one.
    rmSync(realpathSync(path.join(directory, 'postgres')), { recursive: true, force: true })
  } catch {
    // Nothing was made yet, or PostgreSQL is somebody else's.
  }
  rmSync(directory, { recursive: true, force: true })
}
