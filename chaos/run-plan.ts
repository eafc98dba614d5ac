/** Plays one scenario after the other, or several at a time, and keeps all that is known of them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createProgress } from '../src/cli/progress.ts'
import { createReleaseStack } from '../src/lifecycle/release-stack.ts'
import type { Play, Settings } from './options.ts'
import { createUnplayedReport, formatHeader, formatReport, type ScenarioReport } from './report/report.ts'
import { runScenario } from './run-scenario.ts'
import { makePostgresTemplate } from './world/postgres-template.ts'
import type { Backend } from './world/world.ts'

type Skipped = { name: string; backend: Backend; seed: number; reason: string }

/** In the order of the plan. */
export type PlanResult = { reports: ScenarioReport[]; skipped: Skipped[]; durationMs: number }

type RunContext = { signal: AbortSignal; print(text: string): void }

/** @throws when the signal aborts. */
export async function runPlan(settings: Settings, { signal, print }: RunContext): Promise<PlanResult> {
  const startedAt = performance.now()
  const releases = createReleaseStack({ deadlineMs: 10_000 })
  const directory = mkdtempSync(path.join(tmpdir(), `wa-ingest-chaos-${process.pid}-template-`))
  releases.add('template', () => rmSync(directory, { recursive: true, force: true }))
  try {
    print(formatHeader())
    await makePostgresTemplate(directory)
    const skipped: Skipped[] = []
    const playable = settings.plan.filter(({ scenario, backend, seed }) => {
      const reason = scenario.unavailable?.()
      if (reason === undefined) return true
      skipped.push({ name: scenario.name, backend, seed, reason })
      print(`${scenario.name} on ${backend}: skipped, ${reason}`)
      return false
    })
    const reports = await playAll(playable, settings, { signal, print, postgresTemplate: directory })
    return { reports, skipped, durationMs: performance.now() - startedAt }
  } finally {
    await releases.releaseAll().catch(() => {})
  }
}

async function playAll(
  plan: readonly Play[],
  settings: Settings,
  { signal, print, postgresTemplate }: RunContext & { postgresTemplate: string },
): Promise<ScenarioReport[]> {
  const progress = createProgress({
    stream: process.stderr,
    label: 'chaos',
    total: plan.length,
    env: process.env,
  })
  const reports: ScenarioReport[] = []
  const underWay = new Map<Play, string>()
  let next = 0
  let done = 0
  const show = () => progress.update(done, [...underWay.values()].join(', '))

  async function playOne(number: number, play: Play): Promise<void> {
    const { scenario, backend, seed } = play
    const { seconds, patience, rateShare, logDirectory } = settings
    const report = await runScenario(scenario, {
      ...{ backend, seed, signal, seconds, patience, rateShare, logDirectory, postgresTemplate },
      onProgress: (phase) => {
        underWay.set(play, `${scenario.name} on ${backend} ${phase}`)
        show()
      },
    }).catch((err: unknown) => {
      signal.throwIfAborted()
      return createUnplayedReport(play, err)
    })
    underWay.delete(play)
    done++
    reports[number] = report
    print(formatReport(report))
    show()
  }

  async function playInTurn(): Promise<void> {
    while (next < plan.length) {
      signal.throwIfAborted()
      const number = next++
      await playOne(number, plan[number] as Play)
    }
  }
  const slots = await Promise.allSettled(Array.from({ length: settings.parallel }, playInTurn))
  progress.finish()
  const failed = slots.find((slot) => slot.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return reports
}
