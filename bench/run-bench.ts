/**
 * A whole run: every workload with every contender, in several rounds. Contenders take turns, so that other work of the
 * machine affects all of them, and each round begins with another contender.
 */
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import path from 'node:path'
import { createReleaseStack, type ReleaseStack } from '../src/lifecycle/release-stack.ts'
import { isAlive } from '../src/local/postmaster.ts'
import { type Contender, canRun, contenderNamed, isInQuickRun } from './contenders.ts'
import { installPeers } from './install-peers.ts'
import { type Loader, startLoader } from './load/loader.ts'
import { prepareLoad, type Stretch } from './load/prepared-load.ts'
import { measureContender, PACED_SHARE } from './measure-contender.ts'
import type { Measurement } from './measurement.ts'
import { type BenchPostgres, openPostgres } from './servers/postgres.ts'
import { createTemplates, type Templates } from './servers/templates.ts'
import { openSession, type Session } from './session.ts'
import type { Settings } from './settings.ts'
import { type Order, setStage } from './stage.ts'
import { type Workload, type WorkloadName, workloadNamed } from './workloads.ts'

export type BenchRun = {
  measurements: Measurement[]
  /** One text for each step that did not work. */
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
  /** The contender is not stopped after it: the next step goes on with it. */
  keepsRunning: boolean
}

const APP_SECRET = 'bench-app-secret'
const RELEASE_DEADLINE_MS = 60_000
/** For `stall`, when direct is not measured. */
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
      await runStep(bench, step, run)
    }
    return run
  } finally {
    await releases.releaseAll()
  }
}

/** In the order in which they are made. */
export function stepsOf(settings: Settings): Step[] {
  const { contenders, workloads, rounds, isQuick } = settings
  const steps: Omit<Step, 'count' | 'number' | 'keepsRunning'>[] = []
  for (let round = 1; round <= rounds; round++) {
    const first = (round - 1) % contenders.length
    const turn = [...contenders.slice(first), ...contenders.slice(0, first)].map(contenderNamed)
    for (const name of workloads)
      for (const contender of turn)
        if (canRun(contender, name) && (!isQuick || isInQuickRun(contender, name)))
          steps.push({ round, contender, workload: workloadNamed(name) })
  }
  if (isQuick)
    steps.sort((a, b) => contenders.indexOf(a.contender.name) - contenders.indexOf(b.contender.name))
  return steps.map((step, index) => {
    const keepsRunning = canKeepRunning(settings, step, steps[index + 1])
    return { ...step, number: index + 1, count: steps.length, keepsRunning }
  })
}

/** To start the processes takes most of the time of a quick run, so a contender does its workloads in one session. */
function canKeepRunning(
  { isQuick, profileDir }: Settings,
  step: Pick<Step, 'contender' | 'workload'>,
  next: typeof step | undefined,
): boolean {
  const isSame = step.contender.name === next?.contender.name
  return (
    isQuick &&
    profileDir === undefined &&
    isSame &&
    !step.workload.isLargeTable &&
    !next?.workload.isLargeTable
  )
}

type Bench = {
  settings: Settings
  observer: BenchObserver
  signal: AbortSignal
  postgres: BenchPostgres
  templates: Templates
  loader: Loader
  directory: string
  /** The names of all databases begin with it. */
  prefix: string
  loads: Map<WorkloadName, Order['load']>
  session: Session | undefined
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
  const bench: Bench = {
    ...{ settings, observer, signal, postgres, templates, loader, directory, prefix },
    ...{ loads: new Map(), session: undefined },
  }
  releases.add('contender', () => closeSession(bench))
  return bench
}

async function runStep(bench: Bench, step: Step, run: BenchRun): Promise<void> {
  const { settings, observer } = bench
  const { contender, workload } = step
  const fallback = workload.load === 'stall' ? DEFAULT_RATE : undefined
  const rate = settings.rate ?? rateOfDirect(run.measurements) ?? fallback
  const onPhase = (phase: string) => observer.onPhase(step, phase)
  let isReusable = false
  try {
    onPhase('writing requests')
    const load = await loadOf(bench, step, rate)
    onPhase('starting')
    const session = await sessionOf(bench, step)
    const measurement = await measureContender(
      await setStage({ ...bench, onPhase }, { workload, load, rate }, session),
    )
    run.measurements.push(measurement)
    observer.onMeasured(step, measurement)
    isReusable = step.keepsRunning
  } catch (err) {
    if (bench.signal.aborted) return
    const problem = err instanceof Error ? err.message : String(err)
    run.failures.push(`${workload.name} with ${contender.name}: ${problem}`)
    observer.onFailure(step, problem)
  } finally {
    if (!isReusable) await closeSession(bench)
  }
}

/** The session of the step before, where that was left running; otherwise a new one. */
async function sessionOf(bench: Bench, { contender, workload, number }: Step): Promise<Session> {
  if (bench.session?.contender.name === contender.name) return bench.session
  const directory = path.join(bench.directory, `step-${number}`)
  mkdirSync(directory)
  const databaseName = `${bench.prefix}_${number}`.slice(0, POSTGRES_NAME_LENGTH)
  const profileName = `${workload.name}-${contender.name}`
  const deps = { ...bench, directory, databaseName, profileName, appSecret: APP_SECRET }
  const session = await openSession(deps, contender, workload)
  bench.session = {
    ...session,
    close: async () => {
      await session.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
  return bench.session
}

async function closeSession(bench: Bench): Promise<void> {
  const { session } = bench
  bench.session = undefined
  await session?.close()
}

/** Half of the rate that direct reached in the first round, for every contender and round. */
function rateOfDirect(measurements: readonly Measurement[]): number | undefined {
  const single = measurements.find(
    ({ contender, workload }) => contender === 'direct' && workload === 'single',
  )
  return single && (single.webhooks / single.acknowledgedMs) * 1_000 * PACED_SHARE
}

/** Makes the requests if need be, and lets the load generator read them. */
async function loadOf(
  bench: Bench,
  { workload, number }: Step,
  rate: number | undefined,
): Promise<Order['load']> {
  const path = pathOf(bench, workload)
  const known = bench.loads.get(workload.name)
  // The large tables stay from one contender to the next, so they must not receive the same ids again.
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

/** Removes the data of runs that were killed. */
function removeLeftBehind(parent: string): void {
  if (!existsSync(parent)) return
  for (const name of readdirSync(parent)) {
    const pid = Number(/^bench-(\d+)$/.exec(name)?.[1] ?? 0)
    if (pid !== 0 && !isAlive(pid)) removeDirectory(path.join(parent, name))
  }
}

function removeDirectory(directory: string): void {
  try {
    // The directory is a link where the user of PostgreSQL cannot enter `parent`.
    rmSync(realpathSync(path.join(directory, 'postgres')), { recursive: true, force: true })
  } catch {
    // Nothing was made yet, or the run uses the server in DATABASE_URL.
  }
  rmSync(directory, { recursive: true, force: true })
}
